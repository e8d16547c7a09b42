/** Fails when a declaration that the package publishes says `any`: it would switch the compiler off in the code of users. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { root } from './install.mjs'

const dist = join(root, 'dist')
const files = readdirSync(dist, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.d.ts'))
const found = []
for (const file of files) {
  const source = ts.createSourceFile(file, readFileSync(join(dist, file), 'utf8'), ts.ScriptTarget.Latest, true)
  const visit = (node) => {
    if (node.kind === ts.SyntaxKind.AnyKeyword) {
      found.push(`${file}:${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}`)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
}
for (const place of found) console.error(`any in dist/${place}`)
console.log(`${files.length} declaration files, ${found.length} with any`)
// Nothing that was looked at proves nothing.
process.exitCode = found.length === 0 && files.length > 100 ? 0 : 1
