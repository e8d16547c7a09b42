/** The types of Express 5 stand for those of Express 4. */
declare module 'express4' {
  export { default } from 'express'
}
