/** What the tables of the databases have in common: their options, and how their Prisma models are typed. */
import type { OriginatorIdType } from '../dialect.js'

/** How a table is made. */
export interface TableOptions {
  /** The schema that the table is in, where the database has schemas; default: the connection's. */
  readonly schema?: string | undefined
  /** Default `uuid` where the database has it; the others always have text. */
  readonly originatorIdType?: OriginatorIdType | undefined
}

/** How the fields of the Prisma models are typed for one database: each a type and its attributes. */
export interface ModelTypes {
  /** As the datasource of a Prisma schema spells it. */
  readonly provider: string
  /** How many bytes a name has at most. */
  readonly longestName: number
  /** Whether the constraint of a primary key has a name of its own. */
  readonly namesPrimaryKeys: boolean
  /** Whether tables can be in named schemas. */
  readonly hasSchemas: boolean
  /** Whether notification ids are given from a table of positions. */
  readonly hasPositions: boolean
  readonly id: string
  readonly originatorId: Readonly<Record<OriginatorIdType, string>>
  readonly topic: string
  readonly state: string
  readonly recordedAt: string
  readonly applicationName: string
  readonly subject: string
  readonly tag: string
  readonly key: string
  readonly idempotencyKey: string
  readonly projectionName: string
  readonly fingerprint: string
}
