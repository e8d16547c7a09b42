/**
 * `npm run release -- 0.2.0`: makes the version of what stands under "Unreleased" in CHANGELOG.md, commits and tags it. Nothing is pushed or
 * published; the last line says how.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = process.env.RELEASE_ROOT ?? join(import.meta.dirname, '..')
const version = process.argv[2] ?? ''

/** Runs git in the repository. */
function git(...args) {
  return execFileSync('git', args, { cwd: root, encoding: 'utf8' }).trim()
}

function refuse(reason) {
  console.error(`Could not release ${version}: ${reason}`)
  process.exit(1)
}

const read = (name) => readFileSync(join(root, name), 'utf8')
const before = JSON.parse(read('package.json')).version
if (!/^\d+\.\d+\.\d+(-[\w.]+)?$/.test(version)) refuse('give a version, such as 0.2.0.')
if (git('status', '--porcelain') !== '') refuse('there are changes that are not committed.')
if (git('tag', '--list', `v${version}`) !== '') refuse(`the tag v${version} is there already.`)

const changelog = read('CHANGELOG.md')
const [, head = '', notes = '', rest = ''] =
  /^([\s\S]*?## Unreleased\n)([\s\S]*?)(\n## [\s\S]*|)$/.exec(changelog) ?? []
if (notes.trim() === '') refuse('CHANGELOG.md has nothing under "Unreleased".')

const date = new Date().toISOString().slice(0, 10)
writeFileSync(join(root, 'CHANGELOG.md'), `${head}\n## ${version} - ${date}\n${notes.trimEnd()}\n${rest}`)
for (const name of ['package.json', 'package-lock.json']) {
  // Of the lock file, the version of the root stands twice, before those of its packages.
  const text = read(name)
  const isLock = name === 'package-lock.json'
  const own = new RegExp(`"version": "${before.replaceAll('.', '\\.')}"`, 'g')
  let left = isLock ? 2 : 1
  writeFileSync(
    join(root, name),
    text.replace(own, (found) => (left-- > 0 ? `"version": "${version}"` : found)),
  )
}
git('commit', '--quiet', '--all', '--message', `Release ${version}`)
git('tag', '--annotate', `v${version}`, '--message', `Version ${version}\n\n${notes.trim()}`)
console.log(`Committed and tagged v${version}. Next: git push --follow-tags && npm publish`)
