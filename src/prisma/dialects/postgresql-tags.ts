/** Tags on PostgreSQL: whoever writes or asks for a tag holds its lock until the end of the transaction. */
import { createHash } from 'node:crypto'
import { NotSupportedError } from '../../errors.js'
import type { StoredEvent } from '../../persistence/stored-event.js'
import type { StatementRunner } from '../connections.js'
import type { TagCondition } from '../dialect.js'
import { statement } from '../driver.js'
import type { StreamsTable } from './postgresql-event-selects.js'

/** Keys for `pg_advisory_xact_lock(int, int)`, sorted, so that two transactions that take several never wait for each other. */
interface TagLockKeys {
  readonly firsts: readonly number[]
  readonly seconds: readonly number[]
}

/** Tells the keys of tags. The form with two integers keeps them apart from those of the log, which have one. */
function tagLockKeys(table: string, tags: Iterable<string>): TagLockKeys {
  const digests = new Map<string, Buffer>()
  for (const tag of tags) {
    const digest = createHash('sha256').update(`${table} ${tag}`).digest().subarray(0, 8)
    digests.set(digest.toString('hex'), digest)
  }
  const sorted = [...digests].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, digest]) => digest)
  return {
    firsts: sorted.map((digest) => digest.readInt32BE(0)),
    seconds: sorted.map((digest) => digest.readInt32BE(4)),
  }
}

/** Counts the locks that it takes, in the order of the keys: a function that gives nothing cannot stand alone for every client. */
function takesLocks(firsts: string, seconds: string): string {
  return `count(pg_advisory_xact_lock(k.a, k.b)::text) FROM unnest(${firsts}::int[], ${seconds}::int[]) AS k(a, b)`
}

/**
 * Takes the locks by a statement of its own: the check that follows it has a younger snapshot, which sees what those have
 * committed that were waited for.
 *
 * @throws `NotSupportedError` where all statements of the transaction have one snapshot
 */
export async function lockTags(runner: StatementRunner, table: string, tags: readonly string[]): Promise<void> {
  const { firsts, seconds } = tagLockKeys(table, tags)
  const level = `current_setting('transaction_isolation')`
  const { rows } = await runner.query(
    statement(`SELECT ${level} AS level, ${takesLocks('$1', '$2')}`, [firsts, seconds]),
  )
  const isolation = String(rows[0]?.[0])
  if (isolation === 'read committed' || isolation === 'read uncommitted') return
  throw new NotSupportedError(
    `Could not check what was decided by tags: the transaction is at ${isolation.toUpperCase()}, and sees only what was there at its ` +
      'beginning. Decide by tags at READ COMMITTED, the default: the locks of the tags and the check make it exact.',
  )
}

/** An insert of events, as it would be without tags but for the source of its locks. */
export interface TaggedInsert {
  /** WITH, and the row of the floor. */
  readonly floorLock: string
  /** Selects from `tag_locks` as well, and returns id, originator id and version. */
  readonly insert: string
  /** Of the insert; those of the tags are added. */
  readonly args: unknown[]
  readonly events: readonly StoredEvent[]
  readonly table: StreamsTable
  /** Of the tags, as a statement names it. */
  readonly tags: string
}

/**
 * Stores the tags with the events, and takes their locks before any id is given. Where a condition was to be checked they are held
 * already, and this takes them once more.
 */
export function insertWithTags({ floorLock, insert, args, events, table, tags }: TaggedInsert): string {
  const { firsts, seconds } = tagLockKeys(table.reference, allTags(events, []))
  const locks = takesLocks(`$${args.push(firsts)}`, `$${args.push(seconds)}`)
  const rows = events.flatMap(({ originatorId, originatorVersion, tags: own = [] }) =>
    [...new Set(own)].map((tag) => ({ originatorId, originatorVersion, tag })),
  )
  const ids = args.push(rows.map(({ originatorId }) => originatorId))
  const versions = args.push(rows.map(({ originatorVersion }) => originatorVersion))
  const names = args.push(rows.map(({ tag }) => tag))
  return (
    `${floorLock.trimEnd()}, tag_locks AS MATERIALIZED (SELECT ${locks}), inserted AS (${insert}), ` +
    `tagged AS (INSERT INTO ${tags} (tag, notification_id) SELECT t.tag, i.id FROM inserted AS i JOIN ` +
    `unnest($${ids}::${table.idType}[], $${versions}::bigint[], $${names}::text[]) AS t(originator_id, originator_version, tag) ` +
    `USING (originator_id, originator_version)) SELECT id FROM inserted ORDER BY id`
  )
}

/** The tags of events and conditions, each once. */
export function allTags(events: readonly StoredEvent[], conditions: readonly TagCondition[]): string[] {
  return [...new Set([...events, ...conditions].flatMap(({ tags = [] }) => tags))]
}
