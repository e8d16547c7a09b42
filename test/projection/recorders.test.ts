/** Recorders of projections keep the promises of all of them, in memory and on every database. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PrismaProjectionRecorder } from '../../src/prisma/projection-recorder.js'
import { tableNames } from '../../src/prisma/table-names.js'
import { InMemoryProjectionRecorder } from '../../src/recorders.js'
import { projectionRecorderContract } from '../../src/testing/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { oneOfEach } from '../support/databases.js'

const framework = { describe, it, expect }

describe('in memory', () => {
  projectionRecorderContract(framework, 'InMemoryProjectionRecorder', async () => ({
    recorder: new InMemoryProjectionRecorder(),
  }))
})

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  let stores = 0
  beforeAll(async () => {
    open = await openDatabase(kind)
  })
  afterAll(async () => {
    await open.close()
  })

  projectionRecorderContract(framework, 'PrismaProjectionRecorder', async () => {
    stores += 1
    const recorder = new PrismaProjectionRecorder(open.datastore, { names: tableNames(`Store${stores}`) })
    await recorder.createTable()
    return { recorder }
  })
})
