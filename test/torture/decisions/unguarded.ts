/** Takes away from decisions what keeps them right, for this test alone: it shows that the judge finds what comes of it. */
import type { DriverConnection, StatementRunner } from '../../../src/prisma/connections.js'
import type { EventsTable, TagCondition } from '../../../src/prisma/dialect.js'
import type { SqlQuery } from '../../../src/prisma/driver.js'
import { engineOf, setEngine } from '../../../src/prisma/engine.js'
import type { Variant } from './plan.js'

/** Changes the recorders that are made on a datastore from now on. */
export function unguard(datastore: object, variant: Variant): void {
  if (variant === 'guarded') return
  const engine = engineOf(datastore)
  const eventsTable: typeof engine.dialect.eventsTable = (options) =>
    unguarded(engine.dialect.eventsTable(options), variant)
  setEngine(datastore, overriding(engine, { dialect: overriding(engine.dialect, { eventsTable }) }))
}

function unguarded(table: EventsTable, variant: Variant): EventsTable {
  const insert: EventsTable['insert'] = async (runner, events, predecessors, conditions) =>
    await table.insert(changing(runner, variant), events, predecessors, changed(conditions, variant))
  return overriding(table, { insert })
}

/** One position for all that was read, the greatest. */
function changed(conditions: readonly TagCondition[], variant: Variant): readonly TagCondition[] {
  if (variant !== 'one-after') return conditions
  const greatest = conditions.reduce<bigint | null>(
    (max, { after }) => ((after ?? 0n) > (max ?? 0n) ? after : max),
    null,
  )
  return conditions.map((condition) => ({ ...condition, after: greatest }))
}

const lockStatement = /^SELECT current_setting\('transaction_isolation'\) AS level, count\(pg_advisory_xact_lock/

function changing<Runner extends StatementRunner | DriverConnection>(runner: Runner, variant: Variant): Runner {
  const query = async (statement: SqlQuery): ReturnType<StatementRunner['query']> => {
    const { sql } = statement
    if (lockStatement.test(sql) && (variant === 'no-locks' || variant === 'one-statement')) {
      return { columnNames: [], columnTypes: [], rows: [['read committed', 0]] }
    }
    if (variant === 'no-locks') {
      return await runner.query({ ...statement, sql: sql.replace('pg_advisory_xact_lock(k.a, k.b)::text', 'k.a') })
    }
    if (variant === 'plain-read')
      return await runner.query({ ...statement, sql: sql.replaceAll(' LOCK IN SHARE MODE', '') })
    return await runner.query(statement)
  }
  return overriding(runner, { query } as Partial<Runner>)
}

/** The same object but for some members; its methods keep their own `this`. */
function overriding<Value extends object>(value: Value, members: Partial<Value>): Value {
  return new Proxy(value, {
    get(target, key) {
      if (Object.hasOwn(members, key)) return Reflect.get(members, key) as unknown
      const member: unknown = Reflect.get(target, key, target)
      return typeof member === 'function' ? (member.bind(target) as unknown) : member
    },
  })
}
