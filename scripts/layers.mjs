/** Checks the layers, and that the checker has seen every module: it exits well after seeing none. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { cruise } from 'dependency-cruiser'
import extractTypeScriptConfig from 'dependency-cruiser/config-utl/extract-ts-config'
import rules from '../.dependency-cruiser.mjs'
import { root } from './install.mjs'

const folders = ['src', 'adapters']
const { output } = await cruise(
  folders,
  { ...rules.options, ruleSet: rules, validate: true, baseDir: root },
  undefined,
  { tsConfig: extractTypeScriptConfig(join(root, 'tsconfig.build.json')) },
)
const { summary, modules } = output
const expected = folders.flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true }).filter((file) => String(file).endsWith('.ts')),
).length
const seen = modules.filter(({ source }) => folders.some((folder) => source.startsWith(`${folder}/`))).length
for (const { rule, from, to } of summary.violations) console.error(`${rule.name}: ${from} → ${to}`)
if (seen !== expected) console.error(`${seen} of ${expected} modules were seen: the check is not to be trusted`)
console.log(
  `${seen} modules, ${summary.totalDependenciesCruised} dependencies, ${summary.violations.length} violations`,
)
process.exitCode = summary.violations.length > 0 || seen !== expected ? 1 : 0
