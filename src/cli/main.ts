#!/usr/bin/env node
/** Starts the command line. */
import { run } from './program.js'

const exitCode = await run(process.argv.slice(2), {
  print: (line) => process.stdout.write(`${line}\n`),
  complain: (line) => process.stderr.write(`${line}\n`),
  // To the beginning of the line, and away with what is there.
  ...(process.stdout.isTTY ? { redraw: (line: string) => process.stdout.write(`\r\u001b[K${line}`) } : {}),
})
// Modules that a command has loaded may keep the process alive: pools, timers, servers. What was printed is written out first.
process.stdout.write('', () => process.stderr.write('', () => process.exit(exitCode)))
