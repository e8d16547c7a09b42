#!/usr/bin/env node
/** Starts the command line. */
import { closedPipe, run } from './program.js'

/** Why nothing can be printed any more. */
let closed: Error | undefined
const onError = (error: Error): void => {
  closed = error
  // Ends the commands that last until then, and lets runners give their leases up.
  process.emit('SIGTERM')
}
process.stdout.on('error', onError)
process.stderr.on('error', onError)

function print(line: string): void {
  if (closed === undefined) process.stdout.write(`${line}\n`)
  // Between two steps of the command, so that none is left half done.
  else if (process.listenerCount('SIGTERM') === 0) throw closed
}

const exitCode = await run(process.argv.slice(2), {
  print,
  complain: (line) => process.stderr.write(`${line}\n`),
  // To the beginning of the line, and away with what is there.
  ...(process.stdout.isTTY ? { redraw: (line: string) => process.stdout.write(`\r\u001b[K${line}`) } : {}),
})
// Modules that a command has loaded may keep the process alive: pools, timers, servers. What was printed is written out first.
const code = closed === undefined || exitCode !== 0 ? exitCode : closedPipe
process.stdout.write('', () => process.stderr.write('', () => process.exit(code)))
