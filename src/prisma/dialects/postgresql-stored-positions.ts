/** Conditions on PostgreSQL: whether positions of streams are stored. */
import type { StreamPosition } from '../../persistence/stored-event.js'

/** A table of events, and the type of its ids. */
interface PositionsTable {
  readonly reference: string
  readonly idType: string
}

/** Whether all positions are stored. */
export function areStored(table: PositionsTable, positions: readonly StreamPosition[], args: unknown[]): string {
  const [only, ...others] = positions
  if (only !== undefined && others.length === 0) return isStored(table, only, args)
  return `${countStored(table, positions, args)} = ${positions.length}`
}

/** Whether one of the positions is stored. */
export function anyStored(table: PositionsTable, positions: readonly StreamPosition[], args: unknown[]): string {
  const [only, ...others] = positions
  if (only !== undefined && others.length === 0) return isStored(table, only, args)
  return `(${countStored(table, positions, args)} > 0)`
}

function isStored({ reference, idType }: PositionsTable, position: StreamPosition, args: unknown[]): string {
  const id = args.push(position.originatorId)
  const version = args.push(position.originatorVersion)
  return (
    `EXISTS (SELECT FROM ${reference} AS s WHERE s.originator_id = $${id}::${idType} ` +
    `AND s.originator_version = $${version}::bigint)`
  )
}

/** How many of the positions are stored: looked up one by one in the index, whatever the planner thinks of the table. */
function countStored(
  { reference, idType }: PositionsTable,
  positions: readonly StreamPosition[],
  args: unknown[],
): string {
  const ids = args.push(positions.map((position) => position.originatorId))
  const versions = args.push(positions.map((position) => position.originatorVersion))
  return (
    `(SELECT count(*) FROM unnest($${ids}::${idType}[], $${versions}::bigint[]) AS p(o, v) WHERE (` +
    `SELECT true FROM ${reference} AS s WHERE s.originator_id = p.o AND s.originator_version = p.v))`
  )
}
