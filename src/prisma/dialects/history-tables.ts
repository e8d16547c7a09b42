/** Prisma's table of applied migrations on each database, and the lock that keeps two from migrating at once. */
import type { DriverProvider } from '../driver.js'
import { createSchemaStatement } from './postgresql-tables.js'

/** The name of the table. */
export const historyTable = '_prisma_migrations'

/** What differs between the databases about the history of migrations. */
export interface HistoryTable {
  /** Makes the table as Prisma's schema engine 7 does. */
  readonly createStatement: string
  /** Makes a schema where it does not exist; none where the database has no schemas. */
  readonly createSchema?: (name: string) => string
  /** The tables that the connection sees by their bare names, as one column. */
  readonly tablesQuery: string
  /** The present time as the engine stores it. */
  readonly now: string
  /** How a parameter is written. */
  readonly parameter: (position: number) => string
  /**
   * Which member of the adapter takes a script of several statements and leaves it to the server, or to SQLite, where
   * one ends: bodies of functions and triggers have semicolons too.
   */
  readonly scriptMember: 'executeRaw' | 'executeScript'
  /** Sent after each script: what that has set for the session ends with it. */
  readonly afterScript?: string
  /** Lines of a script that are for another program than the server. */
  readonly foreignLines?: RegExp
  readonly lock: HistoryLock
}

/** The lock that Prisma's engine takes too; it is given back by closing the connection. */
export interface HistoryLock {
  /** Sent once, before. */
  readonly prepare: readonly string[]
  /** A script that takes the lock; its failing says no. */
  readonly take?: string
  /** Takes the lock; the first value of its row says whether it was given. */
  readonly query?: string
  /** Sent once, after. */
  readonly finish: readonly string[]
  /** A script that gives the lock back before the connection is closed, where closing may not be enough. */
  readonly release?: string
}

/** @see https://www.prisma.io/docs/orm/prisma-migrate/workflows/development-and-production#advisory-locking */
const postgresql: HistoryTable = {
  createStatement: `CREATE TABLE ${historyTable} (
    id                      VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum                VARCHAR(64) NOT NULL,
    finished_at             TIMESTAMPTZ,
    migration_name          VARCHAR(255) NOT NULL,
    logs                    TEXT,
    rolled_back_at          TIMESTAMPTZ,
    started_at              TIMESTAMPTZ NOT NULL DEFAULT now(),
    applied_steps_count     INTEGER NOT NULL DEFAULT 0
)`,
  createSchema: createSchemaStatement,
  tablesQuery: `SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = current_schema()`,
  now: 'now()',
  parameter: (position) => `$${position}`,
  // Without arguments it is one message, which PostgreSQL runs as one transaction; the adapter's executeScript splits.
  scriptMember: 'executeRaw',
  // What pg_dump writes empties the search_path, without which the history is not found.
  afterScript: 'RESET ALL',
  // Commands of psql, which newer versions of pg_dump write around their statements.
  foreignLines: /^\\(un)?restrict .*$/gm,
  lock: {
    prepare: [`SET lock_timeout = '10s'`],
    take: 'SELECT pg_advisory_lock(72707369)',
    finish: ['RESET lock_timeout'],
  },
}

const mysql: HistoryTable = {
  createStatement: `CREATE TABLE ${historyTable} (
    id                      VARCHAR(36) PRIMARY KEY NOT NULL,
    checksum                VARCHAR(64) NOT NULL,
    finished_at             DATETIME(3),
    migration_name          VARCHAR(255) NOT NULL,
    logs                    TEXT,
    rolled_back_at          DATETIME(3),
    started_at              DATETIME(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
    applied_steps_count     INTEGER UNSIGNED NOT NULL DEFAULT 0
) DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci`,
  tablesQuery: `SELECT table_name FROM information_schema.tables WHERE table_schema = database()`,
  now: 'utc_timestamp(3)',
  parameter: () => '?',
  scriptMember: 'executeRaw',
  lock: { prepare: [], query: `SELECT GET_LOCK('prisma_migrate', 10)`, finish: [] },
}

const sqlite: HistoryTable = {
  createStatement: `CREATE TABLE "${historyTable}" (
    "id"                    TEXT PRIMARY KEY NOT NULL,
    "checksum"              TEXT NOT NULL,
    "finished_at"           DATETIME,
    "migration_name"        TEXT NOT NULL,
    "logs"                  TEXT,
    "rolled_back_at"        DATETIME,
    "started_at"            DATETIME NOT NULL DEFAULT current_timestamp,
    "applied_steps_count"   INTEGER UNSIGNED NOT NULL DEFAULT 0
)`,
  tablesQuery: `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite~_%' ESCAPE '~'`,
  // The native engine stores milliseconds, and orders by them.
  now: `CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)`,
  parameter: () => '?',
  scriptMember: 'executeScript',
  lock: {
    prepare: ['PRAGMA busy_timeout = 0', 'PRAGMA main.locking_mode = EXCLUSIVE'],
    // The mode takes the lock only when the file is next written, and then keeps it.
    // A script, since on libsql 0.5 a statement alone that meets the lock stays "in progress" and keeps what comes after
    // from ending.
    take: 'BEGIN EXCLUSIVE; COMMIT;',
    finish: [],
    // libsql 0.5 keeps the file, and so the lock, until its objects are collected; the mode ends with the next access.
    release: 'PRAGMA main.locking_mode = NORMAL; SELECT count(*) FROM sqlite_master;',
  },
}

/** The databases by the provider of their driver adapters. */
export const historyTables: Readonly<Partial<Record<DriverProvider, HistoryTable>>> = {
  postgres: postgresql,
  mysql,
  sqlite,
}
