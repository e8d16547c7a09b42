/** Attempts at one piece of work share a deadline. */
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { ConcurrencyError } from '../../src/index.js'
import { oneOfEach } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

const conflict = () => new ConcurrencyError('somebody was faster', { originatorId: 'x', expectedVersion: 1 })

describe.each(oneOfEach)('on $name', (kind) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(kind)
    // The first use of a client takes a while.
    await open.datastore.transaction(async () => await save('Fido'))
  })
  beforeEach(async () => await open.clear())
  afterAll(async () => await open.close())

  const save = async (dog: string): Promise<void> => {
    await open.db.owner.create({ data: { name: 'Ann', dog } })
  }

  it('gives up when the next attempt would begin after the deadline, with the error of the last one', async () => {
    let attempts = 0
    const work = async (): Promise<void> => {
      attempts += 1
      await save(`Fido ${attempts}`)
      throw Object.assign(conflict(), { attempt: attempts })
    }
    const error = await open.datastore
      .transaction(work, { retries: 1_000, deadlineMs: 1_000 })
      .catch((error: unknown) => error)
    expect(attempts).toBeGreaterThan(1)
    expect(attempts).toBeLessThan(100)
    // Or the deadline, where it passes in the middle of an attempt.
    if (error instanceof ConcurrencyError) expect(error).toMatchObject({ attempt: attempts })
    else expect(error).toMatchObject({ code: 'ES_TRANSACTION_TIMEOUT' })
    expect(await open.dogs()).toEqual([])
  })

  it('ends a later attempt at the deadline of the first one', async () => {
    let attempts = 0
    const work = async (): Promise<void> => {
      attempts += 1
      await save(`Fido ${attempts}`)
      await delay(attempts === 1 ? 400 : 1_400)
      if (attempts === 1) throw conflict()
    }
    const failing = open.datastore.transaction(work, { retries: 5, deadlineMs: 1_500 })
    await expect(failing).rejects.toMatchObject({ code: 'ES_TRANSACTION_TIMEOUT' })
    expect(attempts).toBe(2)
    await delay(400)
    expect(await open.dogs()).toEqual([])
  })
})
