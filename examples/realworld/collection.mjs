/**
 * `npm run collection`: lets newman send the API the public Postman collection of the RealWorld project, which is downloaded; or one
 * from a file: `npm run collection -- ./Conduit.postman_collection.json`.
 */
import { spawnSync } from 'node:child_process'
import { served } from './served.mjs'

const commit = '747190ecf0bb27d461cf1100f6cb3468c6c914ed'
const published = `https://raw.githubusercontent.com/gothinkster/realworld/${commit}/api/Conduit.postman_collection.json`
const [collection = published] = process.argv.slice(2)

const status = await served(async (address) => {
  const user = `u${Date.now()}`
  const variables = { APIURL: address, USERNAME: user, EMAIL: `${user}@mail.com`, PASSWORD: 'password' }
  const globals = Object.entries(variables).flatMap(([name, value]) => ['--global-var', `${name}=${value}`])
  const command = ['--yes', 'newman@6.2.2', 'run', collection, ...globals]
  return spawnSync('npx', command, { stdio: 'inherit', shell: process.platform === 'win32' }).status
})
process.exitCode = status ?? 1
