/** A dialect for this test alone, in which nothing keeps the log in order: it shows that the torture run finds what is lost. */
import type { Notification, StoredEvent, StreamPosition } from '../../src/persistence/stored-event.js'
import type { StatementRunner } from '../../src/prisma/connections.js'
import type { Dialect, EventsTable, EventsTableOptions, Inserted, LogRange } from '../../src/prisma/dialect.js'
import { notificationColumns, toBigInt, toNotification } from '../../src/prisma/dialects/event-rows.js'
import { statement } from '../../src/prisma/driver.js'
import { type Engine, engineOf, setEngine } from '../../src/prisma/engine.js'

/** Takes the protection away from the recorders that are made on a datastore from now on. */
export function unprotect(datastore: object): void {
  const engine = engineOf(datastore)
  const dialect: Dialect = { ...engine.dialect, eventsTable: (options) => unprotectedTable(engine, options) }
  setEngine(datastore, {
    dialect,
    schema: engine.schema,
    order: engine.order,
    checkOutside: () => undefined,
    watches: engine.watches,
    signals: engine.signals,
    telemetry: engine.telemetry,
    transactions: engine.transactions,
    isProvisional: () => engine.isProvisional(),
    runner: () => engine.runner(),
    atOnce: (work) => engine.atOnce(work),
    inPart: (scope, work) => engine.inPart(scope, work),
    rehearse: (work, limits) => engine.rehearse(work, limits),
  })
}

function unprotectedTable(engine: Engine, options: EventsTableOptions): EventsTable {
  const table = engine.dialect.eventsTable(options)
  const insert =
    engine.dialect.name === 'mariadb' ? insertWithEarlyIds(engine, options.name) : insertPlainly(options.name)
  return {
    reference: table.reference,
    takesText: false,
    givesText: false,
    channel: table.channel,
    createStatements: table.createStatements,
    ...(table.idProblem === undefined ? {} : { idProblem: (id: string) => table.idProblem?.(id) }),
    needsTransaction: (events) => table.needsTransaction(events, []),
    select: (runner, id, range) => table.select(runner, id, range),
    selectSinceSnapshot: (runner, snapshots, id, range) => table.selectSinceSnapshot(runner, snapshots, id, range),
    delete: (runner, id, range) => table.delete(runner, id, range),
    lastVersions: (runner, ids) => table.lastVersions(runner, ids),
    lastLogPosition: (runner) => lastVisible(runner, options.name),
    selectLog: (runner, range) => selectVisible(runner, options.name, range),
    lastGivenPosition: async (runner) => (await lastVisible(runner, options.name)) ?? 0n,
    countByTopic: (runner) => table.countByTopic(runner),
    findFault: (runner) => table.findFault(runner),
    firstUnwanted: (runner, condition) => table.firstUnwanted(runner, condition),
    selectByTags: (runner, queries) => table.selectByTags(runner, queries),
    addTags: (runner, tagged) => table.addTags(runner, tagged),
    lockTags: (runner, tags) => table.lockTags(runner, tags),
    insert: (runner, events, predecessors) => insert(runner, events, predecessors),
  }
}

type Insert = (
  runner: StatementRunner,
  events: readonly StoredEvent[],
  predecessors: readonly StreamPosition[],
) => Promise<Inserted>

/** PostgreSQL: ids from the sequence, and no lock. */
function insertPlainly(table: string): Insert {
  return async (runner, events) => {
    const args: unknown[] = []
    const rows = events.map(({ originatorId, originatorVersion, topic, state }) => {
      const first = args.push(originatorId, originatorVersion, topic, state) - 3
      return `($${first}::uuid, $${first + 1}::bigint, $${first + 2}::text, $${first + 3}::bytea)`
    })
    const sql = `INSERT INTO ${table} (originator_id, originator_version, topic, state) VALUES ${rows.join(', ')} RETURNING id`
    const result = await runner.query(statement(sql, args))
    return { notificationIds: result.rows.map(([id]) => toBigInt(id)) }
  }
}

/** MariaDB: ids from the counter as ever, taken outside of the transaction, so that nobody waits for it. */
function insertWithEarlyIds(engine: Engine, table: string): Insert {
  return async (runner, events) => {
    const take = `UPDATE notification_positions SET notification_id = LAST_INSERT_ID(notification_id + ?) WHERE log = ?`
    const { lastInsertId } = await engine.runner().query(statement(take, [events.length, table]))
    const first = BigInt(lastInsertId ?? 0) - BigInt(events.length) + 1n
    const ids = events.map((_, index) => first + BigInt(index))
    const args = events.flatMap(({ originatorId, originatorVersion, topic, state }, index) => [
      ids[index],
      originatorId,
      originatorVersion,
      topic,
      state,
    ])
    const rows = events.map(() => '(?, ?, ?, ?, ?, utc_timestamp(3))').join(', ')
    const columns = 'id, originator_id, originator_version, topic, state, recorded_at'
    await runner.execute(statement(`INSERT INTO ${table} (${columns}) VALUES ${rows}`, args))
    return { notificationIds: ids }
  }
}

async function lastVisible(runner: StatementRunner, table: string): Promise<bigint | null> {
  const { rows } = await runner.query(statement(`SELECT max(id) FROM ${table}`))
  const last = rows[0]?.[0]
  return last === null || last === undefined ? null : toBigInt(last)
}

async function selectVisible(runner: StatementRunner, table: string, range: LogRange): Promise<Notification[]> {
  const { from, limit } = range
  const sql = `SELECT ${notificationColumns()} FROM ${table} WHERE id >= ${from} ORDER BY id LIMIT ${limit}`
  const { rows } = await runner.query(statement(sql))
  return rows.map(toNotification)
}
