/** What a run of the tests has once: a folder, for what one test file leaves to others. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { dropKept, prepareKept } from './kept-databases.js'

/** @returns what is done after the last file */
export default function setup(): () => Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'es-run-'))
  process.env.TEST_RUN_FOLDER = folder
  prepareKept(folder)
  return async () => {
    const server = process.env.TEST_POSTGRES_URL
    if (server !== undefined) await dropKept(folder, server)
    rmSync(folder, { recursive: true })
  }
}
