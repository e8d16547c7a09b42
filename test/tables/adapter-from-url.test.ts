import { afterEach, describe, expect, test } from 'vitest'
import { EnvironmentError } from '../../src/errors.js'
import { statement } from '../../src/prisma/driver.js'
import { adapterFromUrl } from '../../src/prisma/factory.js'
import { type EmptyDatabase, emptyDatabase, providers, rowsOf, runAll } from '../support/empty-databases.js'

let database: EmptyDatabase | undefined

afterEach(async () => {
  await database?.drop()
  database = undefined
})

describe('the driver adapter for a URL', () => {
  test.each([
    ['file:./dev.db', 'sqlite'],
    ['file::memory:', 'sqlite'],
    ['postgresql://me@127.0.0.1/dogs', 'postgres'],
    ['postgres://me:secret@127.0.0.1:5433/dogs?schema=kennel', 'postgres'],
    ['mysql://me@127.0.0.1/dogs', 'mysql'],
    ['MariaDB://me@127.0.0.1/dogs', 'mysql'],
  ])('is chosen by its scheme: %s', async (url, provider) => {
    expect((await adapterFromUrl(url)).provider).toBe(provider)
  })

  test.each(['mongodb://127.0.0.1/dogs', 'dev.db', '', 'constructor:'])('is refused for %j', async (url) => {
    await expect(adapterFromUrl(url)).rejects.toThrow(EnvironmentError)
  })

  test('opens a database in memory', async () => {
    const adapter = await (await adapterFromUrl('file::memory:')).connect()
    await adapter.executeRaw(statement('CREATE TABLE dogs (id INTEGER)'))
    expect((await adapter.queryRaw(statement('SELECT count(*) FROM dogs'))).rows).toHaveLength(1)
    await adapter.dispose()
  })

  test.each(providers)('reaches the database: %s', async (provider) => {
    database = await emptyDatabase(provider)
    await runAll(database.url, ['CREATE TABLE dogs (id INTEGER)', 'INSERT INTO dogs VALUES (1)'])
    const adapter = await (await adapterFromUrl(database.url)).connect()
    const { rows } = await adapter.queryRaw(statement('SELECT id FROM dogs'))
    await adapter.dispose()
    expect(rows.map(([id]) => Number(id))).toEqual([1])
  })

  test('takes no parameter of older engines for a part of the file’s name', async () => {
    database = await emptyDatabase('sqlite')
    await runAll(`${database.url}?connection_limit=1`, ['CREATE TABLE dogs (id INTEGER)'])
    expect(await rowsOf(database.url, 'SELECT count(*) FROM dogs')).toHaveLength(1)
  })
})
