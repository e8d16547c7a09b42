/** A method of an application that a handler forgets to await: known to the transaction from the call on, whatever it sends and when. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { EscapeError, PrismaAggregateRecorder, ProgrammingError } from '../../src/index.js'
import { accounts, Dog, TrainingSchool } from '../application/dogs.js'
import { storedEvent } from '../contracts/stored-events.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { warningsOf } from '../prisma/warnings.js'
import { casesOn, oneOfEach, type TestDatabaseKind } from '../support/databases.js'
import { frameworks, type RunningServer } from './servers.js'

const ann = Dog.createId('Ann')

/** Cannot be saved. */
const nothing = {} as unknown as Dog

/** What a handler forgets to await, and what is stored by it where that is let through: how many events. */
const forgotten: Readonly<Record<string, readonly [call: (school: TrainingSchool) => unknown, stored: number]>> = {
  'School.save': [(school) => school.save(new Dog('Rex')), 1],
  'School.save of its own method': [(school) => school.register('Rex'), 1],
  'School.repository.get before a save': [(school) => school.addTrick('Fido', 'sit'), 1],
  'School.execute': [(school) => school.execute(accounts, ann, 'open', 'Ann'), 1],
  'School.takeSnapshot': [(school) => school.takeSnapshot(Dog, Dog.createId('Fido')), 0],
  insertEvents: [(school) => school.recorder.insertEvents([storedEvent(ann, 1)]), 1],
}

/** A school in a database of its own, with one event before each test. */
function opened(kind: TestDatabaseKind, onEscape: 'throw' | 'warn') {
  const at = {} as { open: OpenDatabase; school: TrainingSchool; events: () => Promise<number> } // set before the tests
  beforeAll(async () => {
    at.open = await openDatabase(kind, { onEscape })
    at.school = new TrainingSchool({ datastore: at.open.datastore, name: 'School', snapshots: true })
    at.events = async () =>
      (await at.open.database.query(`SELECT 1 AS one FROM ${at.open.quoted('school_events')}`)).length - 1
    await at.school.recorder.createTable()
    await new PrismaAggregateRecorder(at.open.datastore, {
      eventsTable: 'school_snapshots',
      kind: 'snapshots',
    }).createTable()
  })
  afterAll(async () => await at.open.close())
  beforeEach(async () => {
    await at.open.clear()
    await at.open.database.query(`DELETE FROM ${at.open.quoted('school_events')}`)
    await at.school.register('Fido')
  })
  return at
}

describe.each(oneOfEach)('on $name', (kind) => {
  const rejections: unknown[] = []
  const onRejection = (reason: unknown): void => void rejections.push(reason)
  beforeAll(() => void process.on('unhandledRejection', onRejection))
  beforeEach(() => void rejections.splice(0))
  afterEach(async () => {
    await nextTurn()
    expect(rejections).toEqual([])
  })
  afterAll(() => void process.off('unhandledRejection', onRejection))

  describe.each(['throw', 'warn'] as const)('where escapes %s', (onEscape) => {
    describe.each(casesOn(kind, frameworks))('$name', (framework) => {
      // A datastore shows so many different warnings and no more: each framework has one of its own.
      const at = opened(kind, onEscape)
      // Equal warnings are shown once.
      const pathOf = (name: string): string => `/${framework.name.replace(' ', '')}/${name.replace(/\W/g, '')}`
      let server: RunningServer
      let errors: unknown[] = []
      beforeAll(async () => {
        const routes = Object.entries(forgotten).map(([name, [call]]) => ({
          method: 'POST' as const,
          path: pathOf(name),
          handle: async ({ send }: { send: (status: number) => void }) => {
            call(at.school)
            send(201)
          },
        }))
        const describeError = (error: unknown): undefined => void errors.push(error)
        server = await framework.start(at.open.datastore, routes, { describe: describeError })
      })
      beforeEach(() => {
        errors = []
      })
      afterAll(async () => await server.close())

      // Hono's handler has ended some promises before the transaction commits: a save that sends nothing is over by then.
      const isOver = (name: string): boolean => framework.name.startsWith('Hono') && name.startsWith('School.save')

      it.each(Object.keys(forgotten).filter(isOver))('%s is in the commit', async (name) => {
        const warnings = await warningsOf('ES_ESCAPE', async () => {
          const { status } = await fetch(`${server.url}${pathOf(name)}`, { method: 'POST' })
          expect(status).toBe(201)
        })
        expect([warnings, errors, await at.events()]).toEqual([[], [], 1])
      })

      it.each(Object.keys(forgotten).filter((name) => !isOver(name)))('%s is found at the commit', async (name) => {
        let status = 0
        const warnings = await warningsOf('ES_ESCAPE', async () => {
          const response = await fetch(`${server.url}${pathOf(name)}`, { method: 'POST' })
          await response.text()
          status = response.status
        })
        const told = onEscape === 'throw' ? String(errors[0]) : (warnings[0] ?? '')
        expect(told).toContain(`when it was to commit: ${name.split(' ')[0]}`)
        if (onEscape === 'throw') {
          expect(errors[0]).toBeInstanceOf(EscapeError)
          expect(told).toMatch(/\(at .*:\d+:\d+\)/)
        }
        expect(status).toBe(onEscape === 'throw' ? 500 : 201)
        expect(await at.events()).toBe(onEscape === 'throw' ? 0 : forgotten[name]?.[1])
      })
    })

    describe('without a framework', () => {
      const at = opened(kind, onEscape)

      it('a call that fails, and that nobody awaits, fails the commit', async () => {
        const done = at.open.datastore.transaction(async () => {
          await at.open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
          void at.school.save(nothing)
          await at.open.db.owner.count()
        })
        const error = await done.catch((failure: unknown) => failure)
        expect(error).toBeInstanceOf(EscapeError)
        expect(error).toMatchObject({ cause: expect.any(ProgrammingError) })
        expect(String(error)).toContain('has failed, and nobody has awaited it: School.save')
        expect(await at.open.dogs()).toEqual([])
      })

      it('a call whose failure is caught fails nothing', async () => {
        await at.open.datastore.transaction(async () => {
          await at.open.db.owner.create({ data: { name: 'Ann', dog: 'Fido' } })
          await expect(at.school.save(nothing)).rejects.toBeInstanceOf(ProgrammingError)
          const late = at.school.save(nothing)
          await at.open.db.owner.count()
          await Promise.allSettled([late])
        })
        expect(await at.open.dogs()).toEqual(['Fido'])
      })

      it('a save that is not awaited before a rollback is undone with the rest', async () => {
        const undo = new Error('undo')
        const done = at.open.datastore.transaction(async () => {
          void at.school.register('Rex')
          throw undo
        })
        await expect(done).rejects.toBe(undo)
        await nextTurn()
        expect(await at.events()).toBe(0)
      })

      it('calls side by side, all awaited, are no fault', async () => {
        await at.open.datastore.transaction(async () => {
          await Promise.all([at.school.register('Rex'), at.school.addTrick('Fido', 'sit'), at.school.getTricks('Fido')])
        })
        expect(await at.events()).toBe(2)
      })

      it('a call that is not awaited in a nested part is found at the end of that', async () => {
        let told = ''
        const warnings = await warningsOf('ES_ESCAPE', async () => {
          const part = async (): Promise<void> => void at.school.register('Rex')
          await at.open.datastore
            .transaction(async () => await at.open.datastore.transaction(part, { propagation: 'nested' }))
            .catch((error: unknown) => {
              told = String(error)
            })
        })
        expect(told || warnings[0]).toContain(
          'still running in a nested part of the transaction when it was to commit: School.save',
        )
        expect(await at.events()).toBe(onEscape === 'throw' ? 0 : 1)
      })
    })
  })
})
