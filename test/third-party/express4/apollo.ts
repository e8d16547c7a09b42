/** Apollo's integration for Express 4, which finds that one here as `express`. */
export { expressMiddleware } from '@as-integrations/express4'
