/** The part of the port to a database that makes tables like others, in a schema or database of their own. */
import type { StatementRunner } from './connections.js'

/** The tables that have a shadow, parents first. */
export interface ShadowTables {
  /** The schema or database of those in use. */
  readonly live: string
  /** Where those like them are. */
  readonly shadow: string
  readonly tables: readonly string[]
}

/** A foreign key that refers to one of the tables from outside. */
export interface OutsideReference {
  readonly table: string
  readonly to: string
}

/** What a shadow takes. Each statement stands for itself: where one fails, what was made before stays. */
export interface ShadowDialect {
  /** How a statement names a table of a schema or database. */
  qualified(schema: string, table: string): string
  /** How a statement that Prisma makes names the schema or database, up to the dot. */
  quoted(schema: string): string
  /** Where the client's tables are, when its adapter does not say so. */
  defaultSchema(runner: StatementRunner): Promise<string>
  exists(runner: StatementRunner, shadow: string): Promise<boolean>
  /** Makes the schema or database; fails where it exists. */
  create(runner: StatementRunner, shadow: string): Promise<void>
  /** Makes tables like those in use, with the foreign keys between them, and views of all others that can only be read. */
  furnish(runner: StatementRunner, tables: ShadowTables): Promise<void>
  /** The foreign keys of other tables to these. */
  outsideReferences(runner: StatementRunner, tables: ShadowTables): Promise<OutsideReference[]>
  /** Deletes the rows in use, and copies those of the shadow. */
  replaceRows(runner: StatementRunner, tables: ShadowTables): Promise<void>
  /** Removes the schema or database with everything in it; harmless where there is none. */
  drop(runner: StatementRunner, shadow: string): Promise<void>
}
