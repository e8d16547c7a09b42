/** Lets a server of Fastify end well: what is under way is answered, and nothing is left open, not even a stream of events. */
import type { CloseOptions } from 'eventsourcing-prisma'
import type { FastifyInstance } from 'fastify'

/** What is closed with the server; a `PrismaDatastore` is one. */
interface Closable {
  close(options?: CloseOptions): Promise<void>
}

/** @param timeoutMs - milliseconds that the requests which are under way get to be answered */
export function closeWithServer(fastify: FastifyInstance, datastore: Closable, timeoutMs = 10_000): void {
  const { server } = fastify
  let closed: Promise<void> | undefined
  let idle: NodeJS.Timeout | undefined
  let late: NodeJS.Timeout | undefined
  fastify.addHook('preClose', async () => {
    // Kept connections are closed when they have been answered, the others a second after the limit.
    idle = setInterval(() => server.closeIdleConnections(), 50)
    late = setTimeout(() => server.closeAllConnections(), timeoutMs + 1_000)
    // Not awaited: Fastify refuses later requests from now on, and those under way end by themselves, or at the limit with 503.
    closed = datastore.close({ timeoutMs })
  })
  fastify.addHook('onClose', async () => {
    clearInterval(idle)
    clearTimeout(late)
    await closed
  })
}
