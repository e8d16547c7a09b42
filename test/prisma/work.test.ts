/** What the work of a transaction gives back: Prisma's promises, which do nothing before they are awaited, and plain values. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { oneOfEach } from '../support/databases.js'
import { type OpenDatabase, openDatabase } from './open-database.js'

describe.each(oneOfEach)('on $name', (database) => {
  let open: OpenDatabase
  beforeAll(async () => {
    open = await openDatabase(database)
  })
  afterAll(async () => await open.close())
  beforeEach(async () => await open.clear())

  it('notSupported runs a call that is given back unawaited outside', async () => {
    const { datastore, db } = open
    await datastore.transaction(async () => {
      await db.owner.count()
      expect(await datastore.transaction(() => db.owner.count(), { propagation: 'notSupported' })).toBe(0)
    })
  })

  it.each(['required', 'nested', 'requiresNew'] as const)(
    '%s runs a call that is given back unawaited inside, with the extensions of its query',
    async (propagation) => {
      const { datastore, db } = open
      const counts: number[] = []
      const counting = db.$extends({
        query: {
          owner: {
            async create({ args, query }) {
              const owner = await query(args)
              counts.push(await db.owner.count())
              return owner
            },
          },
        },
      })
      const create = async (): Promise<void> => {
        await datastore.transaction(() => counting.owner.create({ data: { name: 'Ann', dog: 'Fido' } }), {
          propagation,
        })
      }
      // It counts what nobody else sees, so it is inside.
      if (propagation === 'nested') await datastore.transaction(create)
      else await create()
      expect(counts).toEqual([1])
    },
  )

  it('may be a plain value, where no compiler looks', async () => {
    const { datastore } = open
    const plain = (): Promise<string> => JSON.parse('"plain"')
    expect(await datastore.transaction(plain)).toBe('plain')
    expect(await datastore.transaction(async () => await datastore.transaction(plain, { propagation: 'nested' }))).toBe(
      'plain',
    )
  })
})
