/**
 * `npm run site [-- --open]`: builds the documentation as a site, in site/dist/site, with the reference of all public names and a search. Every link within
 * it is checked, those to headings too. `--open` serves it.
 */
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, posix, relative } from 'node:path'
import { prepare, root, run } from './install.mjs'

const site = join(root, 'site')
const pages = join(site, 'dist/pages')
/** Pages beside those in docs/. */
const others = ['CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'CODE_OF_CONDUCT.md']

prepare()
run('npm', ['install', '--prefix', 'site', '--no-audit', '--no-fund', '--loglevel=error'])
rmSync(pages, { recursive: true, force: true })
mkdirSync(pages, { recursive: true })
cpSync(join(root, 'docs'), join(pages, 'docs'), { recursive: true })
for (const name of others) cpSync(join(root, name), join(pages, name))
cpSync(join(root, 'README.md'), join(pages, 'index.md'))
const plugin = join(site, 'node_modules/typedoc-plugin-markdown/dist/index.js')
const output = ['--emit', 'docs', '--out', join(pages, 'reference'), '--readme', 'none']
run(join(root, 'node_modules/.bin/typedoc'), ['--plugin', plugin, ...output])

const texts = new Map(markdownIn(pages).map((file) => [file, readFileSync(join(pages, file), 'utf8')]))
const headings = new Map([...texts].map(([file, text]) => [file, anchorsOf(text)]))
const dead = []
for (const [file, text] of texts) {
  const linked = text.replace(/\[([^\]]*)\]\(([^)\s]+)\)/g, (whole, label, target) =>
    linkOf(file, { whole, label, target }),
  )
  writeFileSync(join(pages, file), linked)
}
if (dead.length > 0) {
  console.error(`Dead links:\n${dead.join('\n')}`)
  process.exit(1)
}
const vitepress = join(site, 'node_modules/.bin/vitepress')
run(vitepress, ['build', site])
console.log(`The site is in ${relative(process.cwd(), join(site, 'dist'))}: ${texts.size} pages.`)
if (process.argv.includes('--open')) run(vitepress, ['preview', site])

/** A link as the site has it: to a page of it, or, where it goes to a file of the repository that is no page, its text alone. */
function linkOf(file, { whole, label, target }) {
  if (/^[a-z]+:/.test(target)) return whole
  const [path = '', anchor] = target.split('#')
  const named = path === '' ? file : posix.normalize(posix.join(dirname(file), decodeURI(path)))
  const found = named === 'README.md' ? 'index.md' : named
  if (!texts.has(found)) {
    if (found.startsWith('docs/') && existsSync(join(pages, found)) && /\.\w+$/.test(found)) return whole
    if (!existsSync(join(root, found))) dead.push(`${file}: ${target}`)
    return label
  }
  if (anchor !== undefined && anchor !== '' && !headings.get(found)?.has(anchor)) dead.push(`${file}: ${target}`)
  return `[${label}](/${found.replace(/\.md$/, '')}${anchor === undefined ? '' : `#${anchor}`})`
}

/** The anchors of the headings of a page, as forges and the site make them. */
function anchorsOf(text) {
  const anchors = new Set([...text.matchAll(/<a id="([^"]+)"/g)].map(([, id]) => id))
  let isCode = false
  for (const line of text.split('\n')) {
    if (line.startsWith('```')) isCode = !isCode
    const [, heading] = isCode ? [] : (/^#{1,6} (.+)$/.exec(line) ?? [])
    if (heading !== undefined) anchors.add(slugOf(heading, anchors))
  }
  return anchors
}

function slugOf(heading, taken) {
  const slug = heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')
  if (!taken.has(slug)) return slug
  let number = 1
  while (taken.has(`${slug}-${number}`)) number += 1
  return `${slug}-${number}`
}

function markdownIn(folder) {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  return names.filter((name) => name.endsWith('.md')).map((name) => name.replaceAll('\\', '/'))
}
