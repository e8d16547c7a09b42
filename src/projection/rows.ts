/** Projections of one row for each key: folded in memory, read and written once for each row and batch. */
import type { Aggregate, AggregateClass, EventsOf } from '../domain/aggregate.js'
import type { Decider } from '../domain/decider.js'
import type { EventDefinition } from '../domain/event-definition.js'
import type { DataOf } from '../domain/read-event.js'
import type { ChangeRows } from '../persistence/projection-recorder.js'
import {
  type ApplyEvents,
  on,
  type PositionedEvent,
  type ProjectedEvent,
  type ProjectionHandler,
  projected,
} from './handlers.js'

/** What rows need of a model of the Prisma client, such as `db.trickCount`. */
export interface RowsDelegate {
  /** Reads the rows of a batch. */
  findMany(args: never): PromiseLike<readonly object[]>
  /** Writes new rows. */
  createMany(args: never): PromiseLike<unknown>
  /** Writes a row that has changed. */
  updateMany(args: never): PromiseLike<unknown>
  /** Deletes rows. */
  deleteMany(args: never): PromiseLike<unknown>
}

/** The columns of a model: what Prisma's types say of its delegate. */
type RowOf<Delegate> = Delegate extends { readonly [key: symbol]: { types: { payload: { scalars: infer Row } } } }
  ? Row
  : Record<string, unknown>

/** What a row is made from: what Prisma's types ask for in `createMany`. */
type NewRowOf<Delegate> = Delegate extends {
  readonly [key: symbol]: { types: { operations: { createMany: { args: { data?: infer Data } } } } }
}
  ? Exclude<Data, readonly unknown[] | undefined>
  : Record<string, unknown>

/** What a key is. */
type Key = string | number | bigint

/** A row before and after an event; undefined where there is none. */
export type Fold<Row, Result, Data> = (row: Row | undefined, event: ProjectedEvent<Data>) => Result

/** Stands in the place of a fold whose rows have a column that the model does not have. */
export interface RowsMisuse {
  readonly 'rows: the row has a column that the model does not have': never
}

type KeysOf<Value> = Value extends unknown ? keyof Value : never

/** The compiler does not look for columns that are too many in what a function gives: this does. */
type KnownColumns<Result, Known> = [KeysOf<Exclude<Result, undefined>>] extends [KeysOf<Known>] ? unknown : RowsMisuse

type Kind = AggregateClass | { readonly name: string; readonly evolve: object }

/** Declares how events change rows: which row, and what becomes of it. */
export interface RowsOn<Row, NewRow> {
  /** For the events of one definition of a class or decider. */
  <Input extends object, Data extends object, Result extends Row | NewRow | undefined>(
    kind: Kind,
    definition: EventDefinition<string, Input, Data>,
    keyOf: (event: ProjectedEvent<Data>) => Key,
    fold: Fold<Row, Result, Data> & KnownColumns<Result, Row | NewRow>,
  ): RowsHandler
  /** For an event of a decider, by its name. */
  <
    State,
    Events extends object,
    Commands extends object,
    Name extends keyof Events & string,
    Result extends Row | NewRow | undefined,
  >(
    decider: Decider<State, Events, Commands>,
    name: Name,
    keyOf: (event: ProjectedEvent<DataOf<Events, Name>>) => Key,
    fold: Fold<Row, Result, DataOf<Events, Name>> & KnownColumns<Result, Row | NewRow>,
  ): RowsHandler
  /** For an event of a class, by its name. */
  <A extends Aggregate<object>, Name extends keyof EventsOf<A> & string, Result extends Row | NewRow | undefined>(
    aggregateClass: AggregateClass<A>,
    name: Name,
    keyOf: (event: ProjectedEvent<DataOf<EventsOf<A>, Name>>) => Key,
    fold: Fold<Row, Result, DataOf<EventsOf<A>, Name>> & KnownColumns<Result, Row | NewRow>,
  ): RowsHandler
}

/** One fold with the events that it takes; made by the function that `rows` gives. */
export interface RowsHandler extends ProjectionHandler {
  readonly keyOf: (event: ProjectedEvent) => Key
  readonly fold: (row: object | undefined, event: ProjectedEvent) => object | undefined
}

/** How the rows of a projection are folded. */
export interface RowsFold {
  /** The unique field that keys are of. */
  readonly unique: string
  /** What becomes of rows, by their keys: changes the map. */
  readonly fold: (rows: Map<unknown, object | undefined>, events: readonly PositionedEvent[]) => void
  /** The names of its models, where the client tells them. */
  readonly models: () => readonly string[] | undefined
  /** Deletes all rows, in the current transaction. */
  readonly empty: () => Promise<void>
  readonly apply: ApplyEvents
}

/** What `rows(…)` gives, to be spread into the options of a projection. */
export interface FoldedRows {
  /** The handlers. */
  readonly on: readonly RowsHandler[]
  /** How the rows are folded. */
  readonly rows: RowsFold
}

/**
 * Folds events into the rows of one model: pure functions from row to row, each row read and written once in a batch.
 *
 * @param delegate - gives the model, such as `() => db.trickCount`; called in each batch
 * @param unique - the unique field that keys are of
 * @param declare - is given the function that declares the folds; `undefined` deletes a row
 * @returns what `defineProjection` takes beside a name
 */
export function rows<Delegate extends RowsDelegate>(
  delegate: () => Delegate,
  unique: keyof RowOf<Delegate> & string,
  declare: (on: RowsOn<RowOf<Delegate>, NewRowOf<Delegate>>) => readonly RowsHandler[],
): FoldedRows {
  const handlers = declare(rowsOn)
  const table = (): AnyDelegate => delegate() as unknown as AnyDelegate // as every delegate of Prisma is
  return {
    on: handlers,
    rows: {
      unique,
      models: () => modelsOf(delegate()),
      // Objects of columns.
      fold: (all, events) => void foldInto(all as Map<unknown, Row | undefined>, stepsOf(handlers, events, undefined)),
      empty: async () => void (await table().deleteMany({ where: {} })),
      apply: async (events, { log, changeRows } = {}) =>
        await applyRows(handlers, { table, unique, log, changeRows }, events),
    },
  }
}

/** Prisma tells the name of a model there. @see https://www.prisma.io/docs/orm/prisma-client/client-extensions/model */
function modelsOf(delegate: object): readonly string[] | undefined {
  const name: unknown = Reflect.get(delegate, '$name')
  return typeof name === 'string' ? [name] : undefined
}

type Row = Record<string, unknown>

interface AnyDelegate {
  findMany(args: { readonly where: object }): PromiseLike<readonly Row[]>
  createMany(args: { readonly data: readonly object[] }): PromiseLike<unknown>
  updateMany(args: { readonly where: object; readonly data: object }): PromiseLike<unknown>
  deleteMany(args: { readonly where: object }): PromiseLike<unknown>
}

function rowsOn(...args: readonly unknown[]): RowsHandler {
  const [kind, event, keyOf, fold] = args
  const handler = (on as (...parts: readonly unknown[]) => ProjectionHandler)(kind, event, () => undefined)
  return { ...handler, keyOf: keyOf as RowsHandler['keyOf'], fold: fold as RowsHandler['fold'] } // as the overloads say
}

interface RowsOf {
  readonly table: () => AnyDelegate
  readonly unique: string
  readonly log: string | undefined
  readonly changeRows: ChangeRows | undefined
}

interface Step {
  readonly key: Key
  readonly fold: RowsHandler['fold']
  readonly event: ProjectedEvent
}

async function applyRows(
  handlers: readonly RowsHandler[],
  of: RowsOf,
  events: readonly PositionedEvent[],
): Promise<number> {
  const { table, unique } = of
  const steps = stepsOf(handlers, events, of.log)
  if (steps.length === 0) return events.length
  const keys = [...new Set(steps.map(({ key }) => key))]
  const before = new Map(
    (await table().findMany({ where: { [unique]: { in: keys } } })).map((row) => [row[unique], row]),
  )
  const after = new Map<unknown, Row | undefined>(before)
  const gone = foldInto(after, steps)
  await write(of, { before, after, gone })
  return events.length
}

/** Folds as if each row were written and read again in between. @returns the keys that had no row meanwhile */
function foldInto(all: Map<unknown, Row | undefined>, steps: readonly Step[]): Set<unknown> {
  const gone = new Set<unknown>()
  for (const { key, fold, event } of steps) {
    const known = all.get(key)
    const folded = fold(known, event) as Row | undefined // a row's columns
    if (folded === undefined) gone.add(key)
    const isChanged = known !== undefined && folded !== undefined && folded !== known
    // A column that is undefined, or left out, stays as it was.
    all.set(key, isChanged ? { ...known, ...differences(known, folded) } : folded)
  }
  return gone
}

function stepsOf(
  handlers: readonly RowsHandler[],
  events: readonly PositionedEvent[],
  log: string | undefined,
): Step[] {
  const steps: Step[] = []
  for (const { event, position } of events) {
    for (const { read, keyOf, fold } of handlers) {
      const present = read(event)
      if (present === undefined) continue
      const given = projected(present, position, log)
      steps.push({ key: keyOf(given), fold, event: given })
    }
  }
  return steps
}

/** A row that is there, and what is to become of it. */
interface ChangedRow {
  readonly key: unknown
  readonly before: Row
  /** Its fields that change. */
  readonly data: Row
}

interface RowChanges {
  readonly before: ReadonlyMap<unknown, Row>
  readonly after: ReadonlyMap<unknown, Row | undefined>
  /** The keys that had no row meanwhile: what comes after is another row. */
  readonly gone: ReadonlySet<unknown>
}

async function write(of: RowsOf, { before, after, gone }: RowChanges): Promise<void> {
  const { table, unique } = of
  const created: object[] = []
  const deleted: unknown[] = []
  const changed: ChangedRow[] = []
  for (const [key, row] of after) {
    const known = before.get(key)
    if (known !== undefined && gone.has(key)) deleted.push(key)
    if (row === undefined) continue
    if (known === undefined || gone.has(key)) created.push(row)
    else if (row !== known) changed.push({ key, before: known, data: differences(known, row) })
  }
  if (deleted.length > 0) await table().deleteMany({ where: { [unique]: { in: deleted } } })
  if (created.length > 0) await table().createMany({ data: created })
  for (const rows of alike(changed)) await change(of, rows)
}

/** Those that change in the same fields; what has not changed at all is left out. */
function alike(changed: readonly ChangedRow[]): ChangedRow[][] {
  const groups = new Map<string, ChangedRow[]>()
  for (const row of changed) {
    const fields = Object.keys(row.data).sort().join()
    if (fields === '') continue
    const group = groups.get(fields) ?? []
    groups.set(fields, group)
    group.push(row)
  }
  return [...groups.values()]
}

/** Below that one by one takes no longer. */
const fewestAtOnce = 6

async function change({ table, unique, changeRows }: RowsOf, rows: readonly ChangedRow[]): Promise<void> {
  const update = (row: ChangedRow): PromiseLike<unknown> =>
    table().updateMany({ where: { [unique]: row.key }, data: row.data })
  const [first] = rows
  if (first === undefined) return
  if (rows.length >= fewestAtOnce && changeRows !== undefined && !(unique in first.data)) {
    const all = rows.map(({ before, data }) => ({ ...before, ...data }))
    const fields = Object.keys(first.data).length
    const insertAll = (): PromiseLike<unknown> => table().createMany({ data: all })
    if (await changeRows({ fields, updateFirst: () => update(first), insertAll })) return
  }
  for (const row of rows) await update(row)
}

/** What Prisma is to write. A field that is undefined stays as it is, and so does one with the very same value; equal dates, decimals and JSON are written. */
function differences(before: Row, after: Row): Row {
  return Object.fromEntries(
    Object.entries(after).filter(([column, value]) => value !== undefined && !Object.is(before[column], value)),
  )
}
