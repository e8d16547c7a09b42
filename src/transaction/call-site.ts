/** Where a call comes from that has gone through this package, and perhaps through Prisma. */
import { fileURLToPath } from 'node:url'

/** Prisma has some twenty calls between the one of its user and the statement. */
const stackDepth = 60

const packageFolder = fileURLToPath(new URL('..', import.meta.url))

/** The first line of somebody else's code on the stack, as long as only awaiting lies between; undefined where there is none. */
export function callSite(): string | undefined {
  const { stackTraceLimit } = Error
  Error.stackTraceLimit = stackDepth
  const { stack } = new Error('here')
  Error.stackTraceLimit = stackTraceLimit
  return stack === undefined ? undefined : foreignSite(stack)
}

/** The first line of a stack that is neither of this package nor of Prisma, Node or the engine. */
export function foreignSite(stack: string): string | undefined {
  return stack.split('\n').slice(1).find(isForeign)?.trim()
}

function isForeign(frame: string): boolean {
  const isOurs = frame.includes(packageFolder)
  // A function without a name is `<anonymous> (app.ts:1:2)` where source maps are on; what has no place is `(<anonymous>)`.
  const isBelow = /@prisma[\\/]client|\(node:|at (?:async )?node:|\(<anonymous>\)|\(index \d+\)|\(native\)/.test(frame)
  return !isOurs && !isBelow
}
