#!/usr/bin/env node
/** Starts the command line. */
import { run } from './program.js'

process.exitCode = await run(process.argv.slice(2), {
  print: (line) => console.log(line),
  complain: (line) => console.error(line),
})
