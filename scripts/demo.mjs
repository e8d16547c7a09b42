/**
 * `npm run demo`: the main job on SQLite, from a fresh checkout with nothing but Node. `npm run demo -- --list` serves a page whose list is
 * kept by a projection.
 */
import { join } from 'node:path'
import { prepareExamples, root, run } from './install.mjs'

prepareExamples()
const example = process.argv.includes('--list') ? 'serve-list.ts' : 'demo.ts'
run(process.execPath, ['--import', 'tsx', join(root, 'examples', example)])
