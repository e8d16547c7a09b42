/** Idempotency keys on every database: one transaction has a key, its answer is stored with its work, and nothing is left of what failed. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import {
  IdempotencyKeyInUseError,
  IdempotencyKeyReusedError,
  NoTransactionError,
  PrismaDatastore,
  PrismaIdempotencyStore,
  ProgrammingError,
} from '../../src/index.js'
import type { RecordedResponse } from '../../src/recorders.js'
import { databasesOf, oneOfEach } from '../support/databases.js'
import { newGate } from './gate.js'
import { type OpenDatabase, openDatabase } from './open-database.js'
import { warnings } from './warnings.js'

const undo = new Error('undo')
const bytes = (...values: number[]): Uint8Array => new Uint8Array(values)
const claimOf = (key: string, scope = '', fingerprint = 1) => ({
  scope,
  key,
  fingerprint: bytes(fingerprint),
  ttlMs: 86_400_000,
})
const answer: RecordedResponse = {
  status: 201,
  headers: { 'content-type': 'application/json', link: ['</a>', '</b>'] },
  body: bytes(0, 255, 10, 13, 0),
}

describe.each(oneOfEach)('idempotency keys on $name', (kind) => {
  let open: OpenDatabase
  let store: PrismaIdempotencyStore
  /** On the same database, knowing nothing of the first but what is in there. */
  let other: PrismaDatastore
  let otherStore: PrismaIdempotencyStore
  beforeAll(async () => {
    open = await openDatabase(kind)
    store = new PrismaIdempotencyStore(open.datastore)
    other = new PrismaDatastore({ adapter: open.database.adapter() })
    otherStore = new PrismaIdempotencyStore(other)
  })
  beforeEach(async () => {
    await open.database.query(`DELETE FROM ${open.quoted('idempotency_keys')}`)
  })
  afterAll(async () => {
    await other.close()
    await open.close()
  })

  const stored = async (): Promise<number> =>
    Number((await open.database.query(`SELECT count(*) AS n FROM ${open.quoted('idempotency_keys')}`))[0]?.['n'])
  const expire = async (): Promise<void> => {
    const time = kind.provider === 'sqlite' ? '2001-01-01T00:00:00.000+00:00' : '2001-01-01 00:00:00'
    await open.database.query(`UPDATE ${open.quoted('idempotency_keys')} SET expires_at = '${time}'`)
  }
  const work = async (key: string, response = answer): Promise<RecordedResponse | undefined> =>
    await open.datastore.transaction(async () => {
      const known = await store.claim(claimOf(key))
      if (known === undefined) await store.complete({ scope: '', key }, response)
      return known
    })

  it('give the answer that was stored, byte for byte', async () => {
    expect(await work('one')).toBeUndefined()
    expect(await work('one', { ...answer, status: 500 })).toEqual(answer)
    expect(await other.transaction(async () => await otherStore.claim(claimOf('one')))).toEqual(answer)
    expect(await stored()).toBe(1)
  })

  it('keep an answer without headers and body, and one of a megabyte', async () => {
    const empty = { status: 204, headers: {}, body: bytes() }
    const large = { status: 200, headers: {}, body: new Uint8Array(1024 * 1024).fill(7) }
    await work('empty', empty)
    await work('large', large)
    expect(await work('empty')).toEqual(empty)
    expect(Buffer.compare((await work('large'))?.body ?? bytes(), large.body)).toBe(0)
  })

  it('are compared exactly, and apart in each scope', async () => {
    const keys = ['a', 'A', 'a ', 'ä', 'a\u0308', 'ss', 'ß', '🐶', 'k'.repeat(255)]
    for (const key of keys) expect(await work(key)).toBeUndefined()
    const users = ['ann', 'Ann', 'ann ', 'ä'.repeat(255)]
    for (const scope of users) {
      await open.datastore.transaction(async () => {
        expect(await store.claim(claimOf('a', scope))).toBeUndefined()
        await store.complete({ scope, key: 'a' }, { ...answer, headers: { scope } })
      })
    }
    for (const scope of users) {
      const known = await open.datastore.transaction(async () => await store.claim(claimOf('a', scope)))
      expect(known?.headers).toEqual({ scope })
    }
    expect(await stored()).toBe(keys.length + users.length)
  })

  it('are refused for another request', async () => {
    await work('one')
    const again = open.datastore.transaction(async () => await store.claim(claimOf('one', '', 2)))
    await expect(again).rejects.toBeInstanceOf(IdempotencyKeyReusedError)
    expect(await work('one')).toEqual(answer)
  })

  it('are free again when the work has failed, with nothing left of it', async () => {
    const failing = open.datastore.transaction(async () => {
      await store.claim(claimOf('one'))
      await store.complete({ scope: '', key: 'one' }, answer)
      throw undo
    })
    await expect(failing).rejects.toBe(undo)
    expect(await stored()).toBe(0)
    const elsewhere = other.transaction(async () => {
      expect(await otherStore.claim(claimOf('one'))).toBeUndefined()
      throw undo
    })
    await expect(elsewhere).rejects.toBe(undo)
    expect(await work('one')).toBeUndefined()
  })

  it('are in use for everybody else in the process, until their transaction ends', async () => {
    const gate = newGate()
    const claimed = newGate()
    const first = open.datastore.transaction(async () => {
      await store.claim(claimOf('one'))
      claimed.open()
      await gate.opened
      await store.complete({ scope: '', key: 'one' }, answer)
    })
    await claimed.opened
    const second = open.datastore.transaction(
      async () => await new PrismaIdempotencyStore(open.datastore).claim(claimOf('one')),
    )
    await expect(second).rejects.toBeInstanceOf(IdempotencyKeyInUseError)
    gate.open()
    await first
    expect(await work('one')).toEqual(answer)
  })

  it('are in use inside of the transaction that has claimed them', async () => {
    await open.datastore.transaction(async () => {
      await store.claim(claimOf('one'))
      await expect(store.claim(claimOf('one'))).rejects.toBeInstanceOf(IdempotencyKeyInUseError)
      await store.complete({ scope: '', key: 'one' }, answer)
    })
    expect(await stored()).toBe(1)
  })

  it('are as if they were not there once they have expired', async () => {
    await work('one')
    await expire()
    await open.datastore.transaction(async () => {
      expect(await store.claim(claimOf('one', '', 2))).toBeUndefined()
      await store.complete({ scope: '', key: 'one' }, { ...answer, status: 202 })
    })
    const known = await open.datastore.transaction(async () => await store.claim(claimOf('one', '', 2)))
    expect(known?.status).toBe(202)
    expect(await stored()).toBe(1)
  })

  it('are deleted when they have expired, however many they are', async () => {
    const rows = Array.from({ length: 1_010 }, (_, n) => `('', 'old ${n}', '', 200, '{}', '', '2001-01-01 00:00:00')`)
    const columns = `scope, ${open.quoted('key')}, fingerprint, status, headers, body, expires_at`
    await open.database.query(`INSERT INTO ${open.quoted('idempotency_keys')} (${columns}) VALUES ${rows.join(', ')}`)
    await work('new')
    expect(await store.deleteExpired()).toBe(1_010)
    expect(await store.deleteExpired()).toBe(0)
    expect(await stored()).toBe(1)
  })

  it('are deleted inside of a transaction that is open', async () => {
    await work('one')
    await expire()
    const failing = open.datastore.transaction(async () => {
      expect(await store.deleteExpired()).toBe(1)
      throw undo
    })
    await expect(failing).rejects.toBe(undo)
    expect(await stored()).toBe(1)
  })

  it('are left to others by whoever stores answers while the datastore is closed', async () => {
    const { seen, stop } = warnings('ES_HOOK_FAILED')
    const closing = new PrismaDatastore({ adapter: open.database.adapter() })
    const answers = new PrismaIdempotencyStore(closing)
    const answered = newGate()
    const mayEnd = newGate()
    const answering = closing.transaction(async () => {
      for (let n = 0; n < 100; n += 1) {
        await answers.claim(claimOf(`${n}`))
        await answers.complete({ scope: '', key: `${n}` }, answer)
      }
      answered.open()
      await mayEnd.opened
    })
    await answered.opened
    const closed = closing.close()
    mayEnd.open()
    await Promise.all([answering, closed])
    expect(await stored()).toBe(100)
    stop()
    expect(seen).toEqual([])
  })

  it('are deleted now and then by who stores answers', async () => {
    for (let n = 0; n < 5; n += 1) await work(`old ${n}`)
    await expire()
    const own = new PrismaIdempotencyStore(open.datastore)
    for (let n = 0; n < 100; n += 1) {
      await open.datastore.transaction(async () => {
        await own.claim(claimOf(`new ${n}`))
        await own.complete({ scope: '', key: `new ${n}` }, answer)
      })
    }
    expect(await stored()).toBe(100)
  })

  it('run work once of which many copies begin at the same time, and give the others its answer or say that it runs', async () => {
    for (let round = 0; round < 10; round += 1) {
      let runs = 0
      const request = async (index: number): Promise<'ran' | 'in use' | number> => {
        const [datastore, keys] = index % 2 === 0 ? [open.datastore, store] : [other, otherStore]
        try {
          return await datastore.transaction(async () => {
            const known = await keys.claim(claimOf(`round ${round}`))
            if (known !== undefined) return known.status
            runs += 1
            await keys.complete({ scope: '', key: `round ${round}` }, answer)
            return 'ran'
          })
        } catch (error) {
          expect(error).toBeInstanceOf(IdempotencyKeyInUseError)
          return 'in use'
        }
      }
      const outcomes = await Promise.all(Array.from({ length: 20 }, (_, index) => request(index)))
      expect(runs).toBe(1)
      expect(outcomes.filter((outcome) => outcome === 'ran')).toHaveLength(1)
      expect(outcomes.filter((outcome) => !['ran', 'in use', 201].includes(outcome))).toEqual([])
    }
  })

  it('need a transaction, a claim, a key and a time', async () => {
    await expect(store.claim(claimOf('one'))).rejects.toBeInstanceOf(NoTransactionError)
    await expect(store.complete({ scope: '', key: 'one' }, answer)).rejects.toBeInstanceOf(NoTransactionError)
    const bad = [
      claimOf(''),
      claimOf('k'.repeat(256)),
      claimOf('one', 's'.repeat(256)),
      { ...claimOf('one'), ttlMs: 0 },
      { ...claimOf('one'), ttlMs: Number.NaN },
    ]
    await open.datastore.transaction(async () => {
      await expect(store.complete({ scope: '', key: 'one' }, answer)).rejects.toBeInstanceOf(ProgrammingError)
      for (const claim of bad) await expect(store.claim(claim)).rejects.toBeInstanceOf(ProgrammingError)
    })
    expect(await stored()).toBe(0)
  })

  it('can be in a table of another name', async () => {
    const own = new PrismaIdempotencyStore(open.datastore, { keysTable: 'my_keys' })
    await own.createTable()
    await own.createTable()
    await open.datastore.transaction(async () => {
      await own.claim(claimOf('one'))
      await own.complete({ scope: '', key: 'one' }, answer)
      expect(await store.claim(claimOf('one'))).toBeUndefined()
      await store.complete({ scope: '', key: 'one' }, answer)
    })
    expect(await open.datastore.transaction(async () => await own.claim(claimOf('one')))).toEqual(answer)
  })
})

describe.each(databasesOf('postgresql', 'mysql'))('a key that another process has, on $name', (kind) => {
  let open: OpenDatabase
  let other: PrismaDatastore
  beforeAll(async () => {
    open = await openDatabase(kind)
    other = new PrismaDatastore({ adapter: open.database.adapter() })
  })
  afterAll(async () => {
    await other.close()
    await open.close()
  })

  it('is in use at once, and keeps nobody from other keys', async () => {
    const [store, otherStore] = [open.datastore, other].map((datastore) => new PrismaIdempotencyStore(datastore))
    const claimed = newGate()
    const gate = newGate()
    const first = open.datastore.transaction(async () => {
      await store?.claim(claimOf('m'))
      claimed.open()
      await gate.opened
      await store?.complete({ scope: '', key: 'm' }, answer)
    })
    await claimed.opened
    // Were it to wait, it would wait for ever: the first goes on when this is over.
    await expect(other.transaction(async () => await otherStore?.claim(claimOf('m')))).rejects.toBeInstanceOf(
      IdempotencyKeyInUseError,
    )
    for (const key of ['l', 'n']) {
      await other.transaction(async () => {
        expect(await otherStore?.claim(claimOf(key))).toBeUndefined()
        await otherStore?.complete({ scope: '', key }, answer)
      })
    }
    gate.open()
    await first
    expect(await other.transaction(async () => await otherStore?.claim(claimOf('m')))).toEqual(answer)
  })
})

describe.each(databasesOf('postgresql', 'mysql'))('on $name, with a snapshot', (kind) => {
  it.each(['RepeatableRead', 'Serializable'] as const)(
    'a key that was used since then is known, or the work may be run again: %s',
    async (isolationLevel) => {
      const open = await openDatabase(kind)
      const store = new PrismaIdempotencyStore(open.datastore)
      let attempts = 0
      const known = await open.datastore.transaction(
        async () => {
          attempts += 1
          await open.db.owner.count()
          if (attempts === 1) {
            const first = async (): Promise<void> => {
              await store.claim(claimOf('one'))
              await store.complete({ scope: '', key: 'one' }, answer)
            }
            await open.datastore.transaction(first, { propagation: 'requiresNew' })
          }
          return await store.claim(claimOf('one'))
        },
        { isolationLevel, retries: 1 },
      )
      await open.close()
      expect(known).toEqual(answer)
    },
  )
})
