/** The types of the newest multer stand for those of the two before it. */
declare module 'multer1' {
  export { default } from 'multer'
}
declare module 'multer20' {
  export { default } from 'multer'
}
