#!/usr/bin/env node
/** Starts the command line. */
import { run } from './program.js'

process.exitCode = await run(process.argv.slice(2), {
  print: (line) => process.stdout.write(`${line}\n`),
  complain: (line) => process.stderr.write(`${line}\n`),
})
