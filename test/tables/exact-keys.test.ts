import { afterEach, describe, expect, test } from 'vitest'
import { PrismaAggregateRecorder } from '../../src/prisma/aggregate-recorder.js'
import { PrismaApplicationRecorder } from '../../src/prisma/application-recorder.js'
import { PrismaDatastore } from '../../src/prisma/datastore.js'
import * as mariadb from '../../src/prisma/dialects/mariadb-tables.js'
import * as postgresql from '../../src/prisma/dialects/postgresql-tables.js'
import * as sqlite from '../../src/prisma/dialects/sqlite-tables.js'
import { adapterFromUrl } from '../../src/prisma/factory.js'
import { type EmptyDatabase, emptyDatabase, providers, rowsOf, runAll } from '../support/empty-databases.js'

const dialects = { sqlite, postgresql, mysql: mariadb }

let database: EmptyDatabase | undefined

afterEach(async () => {
  await database?.drop()
  database = undefined
})

// Each pair is one key to some collation.
const alike = ['a', 'A', 'a ', 'ä', 'Ä', 'a\u0308', 'ß', 'ss', '🐶', '🐱', '']

describe.each(providers)('keys on %s', (provider) => {
  test.each(['events', 'snapshots'] as const)(
    'are exact: originator ids that look alike are streams of their own: %s',
    async (kind) => {
      database = await emptyDatabase(provider)
      await using datastore = new PrismaDatastore({ adapter: await adapterFromUrl(database.url) })
      const options = { kind, originatorIdType: 'text' } as const
      const recorder = new PrismaAggregateRecorder(datastore, options)
      await recorder.createTable()
      const events = alike.map((id) => ({
        originatorId: id,
        originatorVersion: 1,
        topic: `of ${id}`,
        state: new Uint8Array(),
      }))
      await recorder.insertEvents(events)
      for (const event of events) expect(await recorder.selectEvents(event.originatorId)).toEqual([event])
      expect(await recorder.selectEvents('A '.repeat(3))).toEqual([])
    },
  )

  test('are exact: a log is read by topics that look alike', async () => {
    database = await emptyDatabase(provider)
    await using datastore = new PrismaDatastore({ adapter: await adapterFromUrl(database.url) })
    const recorder = new PrismaApplicationRecorder(datastore, { originatorIdType: 'text' })
    await recorder.createTable()
    const events = alike.map((topic, index) => ({
      originatorId: 'dog',
      originatorVersion: index + 1,
      topic,
      state: new Uint8Array(),
    }))
    await recorder.insertEvents(events)
    for (const { topic } of events) {
      const found = await recorder.selectNotifications(null, 100, { topics: [topic] })
      expect(found.map((notification) => notification.topic)).toEqual([topic])
    }
  })

  test('hold names of applications of up to 3,072 bytes, and keep those that look alike apart', async () => {
    database = await emptyDatabase(provider)
    const names = [...alike, 'long'.repeat(768)]
    await runAll(database.url, [
      ...dialects[provider].trackingTableStatements('notification_tracking'),
      ...names.map((name, index) => `INSERT INTO notification_tracking VALUES ('${name}', ${index})`),
    ])
    for (const [index, name] of names.entries()) {
      const rows = await rowsOf(
        database.url,
        `SELECT notification_id FROM notification_tracking WHERE application_name = '${name}'`,
      )
      expect(rows.map(([id]) => Number(id))).toEqual([index])
    }
  })
})
