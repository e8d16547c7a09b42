/** `npm run demo`: the main job on SQLite, from a fresh checkout with nothing but Node. */
import { join } from 'node:path'
import { prepare, root, run } from './install.mjs'

prepare()
run(process.execPath, ['--import', 'tsx', join(root, 'examples/demo.ts')])
