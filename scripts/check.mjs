/** Everything that is checked without running the tests; all of it runs, and any failure fails the whole. */
import { spawnSync } from 'node:child_process'
import { prepare, root } from './install.mjs'

prepare()
const failed = []
for (const script of ['format:check', 'lint', 'types', 'layers', 'knip', 'package', 'docs']) {
  console.log(`\n── ${script}`)
  const { status } = spawnSync('npm', ['run', '--silent', script], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  if (status !== 0) failed.push(script)
}
console.log(failed.length === 0 ? '\nall checks passed' : `\nfailed: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
