/** What it costs that transactions can be watched: without a database, so that nothing hides it. */
import { tracingChannel } from 'node:diagnostics_channel'
import type { ConnectionSource, TransactionConnection } from '../src/transaction/connection.js'
import { Escapes } from '../src/transaction/escapes.js'
import { Telemetry } from '../src/transaction/telemetry.js'
import { Transactions } from '../src/transaction/transactions.js'
import { medians, type Result, type Timed } from './measure.js'

const transactionsPerRound = 500

/** A database that does nothing, at once. */
const connection: TransactionConnection = {
  hasEnded: false,
  async commit() {},
  async rollback() {},
  async savepoint() {},
  async rollbackTo() {},
  async release() {},
}
const source: ConnectionSource<TransactionConnection> = {
  singleWriter: false,
  begin: async () => connection,
  hasLone: false,
  lone: undefined,
  damageOf: () => 'nothing',
  lossOf: () => undefined,
  mayPass: () => false,
}

/** As if it were not there. */
class NoTelemetry extends Telemetry {
  override opened(): void {}
  override async begin<T>(_session: unknown, work: () => Promise<T>): Promise<T> {
    return await work()
  }
  override begun(): void {}
  override async commit(_session: unknown, work: () => Promise<void>): Promise<void> {
    await work()
  }
  override ended(): void {}
}

async function runMany(telemetry: Telemetry): Promise<void> {
  const transactions = new Transactions(
    source,
    { autoflush: true, begin: 'first-write', maxWaitMs: 20_000, deadlineMs: 5_000 },
    telemetry,
    new Escapes('warn'),
  )
  for (let n = 0; n < transactionsPerRound; n += 1) {
    await transactions.run(async (scope) => await scope?.execute(async () => n))
  }
}

/** Runs a transaction of one statement: unwatchable, with nobody who listens, and with a listener on each channel of it. */
export async function runTelemetry(rounds: number): Promise<Result> {
  const ignore = (): void => {}
  const listener = { start: ignore, end: ignore, asyncStart: ignore, asyncEnd: ignore, error: ignore }
  const channels = ['begin', 'commit'].map((name) => tracingChannel(`eventsourcing-prisma:transaction.${name}`))
  const unwatchable = new NoTelemetry('bench', 'none')
  const telemetry = new Telemetry('bench', 'none')
  const timed: readonly Timed[] = [
    { contender: 'unwatchable', work: async () => await runMany(unwatchable) },
    { contender: 'nobody listens', work: async () => await runMany(telemetry) },
    {
      contender: 'somebody listens',
      async work() {
        for (const channel of channels) channel.subscribe(listener)
        await runMany(telemetry)
        for (const channel of channels) channel.unsubscribe(listener)
      },
    },
  ]
  return {
    workload: 'a transaction without a database',
    medians: await medians(rounds, timed, transactionsPerRound),
  }
}
