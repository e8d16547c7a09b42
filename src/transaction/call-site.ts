/** Where a call comes from that has gone through this package, and perhaps through Prisma. */
import { fileURLToPath } from 'node:url'

/** Prisma has some twenty calls between the one of its user and the statement. */
const stackDepth = 60

const packageFolder = fileURLToPath(new URL('..', import.meta.url))

/** The first line of somebody else's code on the stack, as long as only awaiting lies between; undefined where there is none. */
export function callSite(): string | undefined {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = stackDepth
  const frames = new Error('here').stack?.split('\n').slice(1) ?? []
  Error.stackTraceLimit = stackTraceLimit
  return frames.find(isForeign)?.trim()
}

function isForeign(frame: string): boolean {
  const isOurs = frame.includes(packageFolder)
  const isBelow = /@prisma[\\/]client|\(node:|at (?:async )?node:|<anonymous>|\(native\)/.test(frame)
  return !isOurs && !isBelow
}
