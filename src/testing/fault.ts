/** The faults that a statement can meet, and how each comes about. */
import { setTimeout as delay } from 'node:timers/promises'
import type { FaultDialect } from '../prisma/dialect.js'
import type { SqlQuery, SqlQueryable } from '../prisma/driver.js'

/**
 * What goes wrong at a statement:
 *
 * - `failed`: the driver fails before the statement is sent.
 * - `disconnected`: the connection is lost before the statement is sent. Not on SQLite.
 * - `unanswered`: the statement is carried out, and the connection is lost before the answer. Not on SQLite.
 * - `conflict`: the database refuses the statement, since another transaction was first: a serialisation failure on
 *   PostgreSQL, a deadlock on MariaDB and MySQL, a locked file on SQLite. It may pass.
 * - `delayed`: the statement is sent after `delayMs`, which should be more than the deadline of the transaction.
 *
 * Inside of a transaction the connection is lost in earnest: the server is asked to end it. Where it refuses, and outside of
 * transactions, the driver's error is all that there is of it.
 */
export type FaultKind = 'failed' | 'disconnected' | 'unanswered' | 'conflict' | 'delayed'

/** One statement that is about to be sent. */
export interface Outgoing<T> {
  readonly sql: string
  /** The adapter, or its transaction, that it is sent on. */
  readonly connection: SqlQueryable
  /** Whether it is one of a transaction that the adapter has begun. */
  readonly inTransaction: boolean
  /** What its server calls the connection; undefined outside of transactions, and where nobody has asked. */
  readonly connectionId: unknown
  send(): Promise<T>
}

/** What a fault needs beside its statement. */
export interface FaultSettings {
  readonly kind: FaultKind
  readonly delayMs: number
  readonly dialect: FaultDialect
  /** Sends a statement on another connection. */
  elsewhere(query: SqlQuery): Promise<void>
}

/** The time that a driver takes to hear that its connection has ended. */
const hearingMs = 20

/** Whether the statement ends a transaction well. */
export function isCommit(sql: string): boolean {
  return /^\s*(COMMIT|END)\b/i.test(sql)
}

/** Sends the statement with a fault. */
export async function sendWithFault<T>(outgoing: Outgoing<T>, settings: FaultSettings): Promise<T> {
  const { connection, sql } = outgoing
  switch (settings.kind) {
    case 'failed':
      throw new Error('The driver has failed before it sent the statement: a fault of the test.')
    case 'disconnected':
      if (await endConnection(outgoing, settings)) await outgoing.send()
      throw connectionLost()
    case 'unanswered':
      await outgoing.send()
      await endConnection(outgoing, settings)
      throw connectionLost()
    case 'conflict':
      return await settings.dialect.giveWay(connection, isCommit(sql))
    case 'delayed':
      await delay(settings.delayMs)
      return await outgoing.send()
  }
}

/** Ends it from outside. @returns false where that cannot be done */
async function endConnection({ connectionId }: Outgoing<unknown>, settings: FaultSettings): Promise<boolean> {
  const { server } = settings.dialect
  if (server === undefined || connectionId === undefined) return false
  try {
    await settings.elsewhere(server.endQuery(connectionId))
  } catch {
    return false // not everybody may
  }
  await delay(hearingMs)
  return true
}

/** In the words of a driver: that is how a lost connection is recognised. */
function connectionLost(): Error {
  return new Error('Connection terminated unexpectedly (a fault of the test)')
}
