/** A table that is not there is told in the same words on every database, and so are two applications that would share tables. */
import { randomUUID } from 'node:crypto'
import { describe, expect, it, vi } from 'vitest'
import { Aggregate, Application, PrismaDatastore, ProgrammingError } from '../../src/index.js'
import { databases, databasesOf } from '../support/databases.js'

class Dog extends Aggregate {}
class Kennel extends Application {}

/** Calls, and what their errors say. */
type Refusals = ReadonlyArray<readonly [() => Promise<unknown>, string]>

const init = 'run npx eventsourcing-prisma init'

describe.each(databases)('on $name, where no table was made', (kind) => {
  it('every call says which table is missing, of which application, and what to do', async () => {
    const database = await kind.createDatabase()
    // The databases of the tests have those without a prefix.
    for (const table of ['stored_event_tags', 'stored_events']) await database.query(`DROP TABLE IF EXISTS ${table}`)
    const datastore = new PrismaDatastore({ adapter: database.adapter(), onEscape: 'off' })
    const kennel = new Kennel({ datastore, snapshots: true })
    const nameless = new Application({ datastore })
    const refusals: Refusals = [
      [() => kennel.save(new Dog()), `table kennel_events for application Kennel: ${init} --app Kennel, then`],
      [
        () => datastore.transaction(async () => void (await kennel.save(new Dog()))),
        'table kennel_events for application',
      ],
      [() => kennel.repository.get(Dog, randomUUID()), 'table kennel_'],
      [() => kennel.notificationLog.select(1n, 10), 'table kennel_events for application Kennel'],
      [() => kennel.forget('Ann'), 'table kennel_keys for application Kennel'],
      [() => nameless.save(new Dog()), `table stored_events for the application, which has no name: ${init}, then`],
    ]
    for (const [call, message] of refusals) {
      const error: unknown = await call().catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(ProgrammingError)
      expect(String(error)).toContain(`there is no ${message}`)
    }
    await datastore.close()
    await database.drop()
  })
})

describe.each(databasesOf('sqlite').slice(0, 1))('on $name, the name of an application', (kind) => {
  it('is refused that a bundler has made, unless events are in memory', async () => {
    const database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    const h = class h extends Application {}
    class Ok extends Application {
      static override readonly name = 'ok'
    }
    expect(() => new h({ datastore })).toThrow("static override readonly name = 'TrainingSchool'")
    expect(new h({ store: 'memory' }).name).toBe('h')
    expect(new h({ datastore, name: 'hr' }).name).toBe('hr')
    expect(new Ok({ datastore }).name).toBe('ok')
    await datastore.close()
    await database.drop()
  })

  it('is told where another class has the same tables', async () => {
    const database = await kind.createDatabase()
    const datastore = new PrismaDatastore({ adapter: database.adapter() })
    const emitWarning = vi.spyOn(process, 'emitWarning').mockReturnValue()
    expect([new Kennel({ datastore }), new Kennel({ datastore })]).toHaveLength(2)
    expect(emitWarning).not.toHaveBeenCalled()
    expect(['kennel', 'KENNEL'].map((name) => new Application({ name, datastore }).name)).toEqual(['kennel', 'KENNEL'])
    expect(emitWarning).toHaveBeenCalledExactlyOnceWith(
      expect.stringContaining('The applications Kennel and kennel have the same tables'),
      { code: 'ES_SAME_NAME' },
    )
    emitWarning.mockRestore()
    await datastore.close()
    await database.drop()
  })
})
