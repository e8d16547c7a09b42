/** Makes the module that has the page of the browser of events as text, from the files in page/; `--check` compares only. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build, transform } from 'esbuild'
import { root } from './install.mjs'

const folder = join(root, 'page')
const target = join(root, 'src/browser/page-text.ts')
const limits = { minifyWhitespace: true, legalComments: 'none', charset: 'ascii', target: 'es2022' }

const bundle = await build({
  entryPoints: [join(folder, 'main.js')],
  bundle: true,
  write: false,
  format: 'iife',
  ...limits,
})
const script = bundle.outputFiles[0].text.trim()
const { code } = await transform(readFileSync(join(folder, 'page.css'), 'utf8'), { ...limits, loader: 'css' })
const style = code.trim()
const html = readFileSync(join(folder, 'page.html'), 'utf8').trim()
const text = `/** The page of the browser of events, as \`npm run page\` makes it from the files in page/. */

/** The page, without its style and its script. */
export const html: string = ${JSON.stringify(html)}

/** The style of the page. */
export const style: string = ${JSON.stringify(style)}

/** The script of the page. */
export const script: string = ${JSON.stringify(script)}
`
if (!process.argv.includes('--check')) writeFileSync(target, text)
else if (readFileSync(target, 'utf8').replaceAll('\r\n', '\n') !== text) {
  console.error('src/browser/page-text.ts is not what page/ makes: run npm run page')
  process.exitCode = 1
}
