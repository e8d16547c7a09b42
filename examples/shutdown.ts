/** Ends a server of Express, or of Node, well: what is under way is answered, and nothing is left open. */
import type { Server } from 'node:http'
import type { CloseOptions } from 'eventsourcing-prisma'

/** What is closed with the server; a `PrismaDatastore` is one. */
interface Closable {
  close(options?: CloseOptions): Promise<void>
}

/** @param timeoutMs - milliseconds that the requests which are under way get to be answered */
export async function closeServer(server: Server, datastore: Closable, timeoutMs = 10_000): Promise<void> {
  // No new connections from here on. Kept ones are closed when they have been answered, the others a second after the limit.
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  const idle = setInterval(() => server.closeIdleConnections(), 50)
  const late = setTimeout(() => server.closeAllConnections(), timeoutMs + 1_000)
  // Requests that come now are answered with 503. Those under way end by themselves, or at the limit: with 503, too.
  await datastore.close({ timeoutMs })
  await closed
  clearInterval(idle)
  clearTimeout(late)
}
