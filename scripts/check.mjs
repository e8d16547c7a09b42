/** Everything that is checked without running the tests; all of it runs, two at a time, and any failure fails the whole. */
import { spawn } from 'node:child_process'
import { prepare, root } from './install.mjs'

prepare()
// The longest first. The types of what is published are checked where the package is built, and its documentation where the site is.
const waiting = ['site', 'package', 'lint', 'types:all', 'knip', 'layers', 'format:check']
const failed = []

async function worker() {
  for (let script = waiting.shift(); script !== undefined; script = waiting.shift()) {
    const began = performance.now()
    const { status, output } = await run(script)
    console.log(`\n── ${script}: ${((performance.now() - began) / 1000).toFixed(0)} s\n${output}`)
    if (status !== 0) failed.push(script)
  }
}

/** @returns how it ended, and all that it has printed */
function run(script) {
  const child = spawn('npm', ['run', '--silent', script], { cwd: root, shell: process.platform === 'win32' })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (output += text))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, output }))
  })
}

await Promise.all([worker(), worker()])
console.log(failed.length === 0 ? 'all checks passed' : `failed: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
