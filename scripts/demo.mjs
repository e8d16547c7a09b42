/**
 * `npm run demo`: the main job on SQLite, from a fresh checkout with nothing but Node. `npm run demo -- --list` serves a page whose list is
 * kept by a projection; `npm run demo:orders` tells the story of orders in two services and a broker.
 */
import { join } from 'node:path'
import { prepareExamples, root, run } from './install.mjs'

prepareExamples()
const examples = { '--list': 'serve-list.ts', '--orders': 'orders/main.ts' }
const [, example = 'demo.ts'] = Object.entries(examples).find(([flag]) => process.argv.includes(flag)) ?? []
run(process.execPath, ['--import', 'tsx', join(root, 'examples', example)])
