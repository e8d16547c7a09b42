/** Tortures projections: their runners are killed, and stopped beyond their lease and woken; then the rows are compared with the log. */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import {
  CommitUnknownError,
  isTransient,
  LeaseLostError,
  type PrismaDatastore,
  ProjectionRunner,
  type RebuildWay,
  WaitTimeoutError,
} from '../../../src/index.js'
import type { TestClient } from '../../prisma/open-database.js'
import { bundled } from '../../support/bundled.js'
import type { TestDatabase, TestDatabaseKind } from '../../support/databases.js'
import { randomNumbers } from '../plan.js'
import { Ledgers, ledgers, openRows, projectionsOf, type RunnerPlan } from './plan.js'

/** How hard to torture. */
export interface ProjectionTortureSettings {
  readonly events: number
  readonly runners: number
  readonly seed: number
  /** How many times a runner is killed, and how many times one is stopped. */
  readonly kills: number
  readonly stops: number
  readonly isProtected?: boolean
  /** Whether the rows of one projection are built anew while events come in: in one transaction and in a shadow, or in place. */
  readonly rebuilds?: boolean
  /** How many times the server is restarted, and what does that. */
  readonly restarts?: number
  readonly restart?: () => Promise<void>
}

/** What came of it. */
export interface ProjectionTortureResult {
  readonly seconds: number
  readonly events: number
  readonly kills: number
  readonly stops: number
  readonly restarts: number
  /** Rebuilds that came to their end by themselves. */
  readonly rebuilds: number
  /** Events with more than one row, and with none. */
  readonly doubled: number
  readonly missed: number
  /** Accounts whose number of changes, or whose sum, is not that of the log. */
  readonly wrongSums: number
}

const leaseMs = 1_000
const writers = 4
/** From so many events on rows are written in batches, and events in larger commands. */
const manyEvents = 100_000
/** How often a rebuild begins anew that a killed or stopped runner, or a restart, has ended. */
const rebuildAttempts = 10
const versionsPerAccount = 1_000
const rowsPerPage = 10_000
const worker = new URL('./worker.ts', import.meta.url)

/** Runs it on a fresh database of this kind. */
export async function tortureProjections(
  kind: TestDatabaseKind,
  settings: ProjectionTortureSettings,
): Promise<ProjectionTortureResult> {
  const database = await kind.createDatabase()
  const { isProtected = true } = settings
  const { name, provider } = kind
  const inBatches = settings.events >= manyEvents
  const plan: RunnerPlan = { database: name, provider, url: database.url, isProtected, leaseMs, inBatches }
  const datastore = openRows(plan)
  try {
    return await new ProjectionTorture({ settings, plan, database, datastore }).run()
  } finally {
    await datastore.close()
    await database.drop()
  }
}

interface Place {
  readonly settings: ProjectionTortureSettings
  readonly plan: RunnerPlan
  readonly database: TestDatabase
  readonly datastore: PrismaDatastore<TestClient>
}

class ProjectionTorture {
  readonly #place: Place
  readonly #application: Ledgers
  readonly #runner: ProjectionRunner
  readonly #random: () => number
  readonly #runners: ChildProcess[] = []
  #kills = 0
  #stops = 0
  #restarts = 0
  #rebuilds = 0
  #written = 0

  constructor(place: Place) {
    this.#place = place
    const { datastore } = place
    this.#application = new Ledgers({ datastore, env: { CREATE_TABLE: 'yes' } })
    this.#runner = new ProjectionRunner({
      application: this.#application,
      datastore,
      projections: projectionsOf(datastore.client, place.plan.inBatches),
      leaseMs,
    })
    this.#random = randomNumbers(place.settings.seed)
  }

  async run(): Promise<ProjectionTortureResult> {
    const { settings } = this.#place
    await this.#application.ready()
    const start = performance.now()
    try {
      for (let number = 0; number < settings.runners; number += 1) await this.#start()
      const writing = Array.from({ length: writers }, async (_, writer) => await this.#write(writer))
      await Promise.all([...writing, this.#torment(), settings.rebuilds === true ? this.#rebuild() : undefined])
      await settled(() => this.#application.recorder.maxNotificationId())
      const end = await this.#application.recorder.maxNotificationId()
      for (const { name } of this.#runner.projections) await this.#wait(name, end)
      await Promise.all(this.#runners.map(stopped))
    } finally {
      for (const runner of this.#runners) runner.kill('SIGKILL')
    }
    return { seconds: (performance.now() - start) / 1000, ...(await this.#verdict()) }
  }

  /** Without the compare-and-set a woken runner may set the position back for good, although its successor has handled all events. */
  async #wait(name: string, end: bigint | null): Promise<void> {
    const isProtected = this.#place.settings.isProtected !== false
    try {
      await this.#runner.wait(name, end, { timeoutMs: isProtected ? 600_000 : 20_000 })
    } catch (error) {
      if (isProtected || !(error instanceof WaitTimeoutError)) throw error
    }
  }

  async #start(): Promise<void> {
    const runner = fork(bundled(worker), [JSON.stringify(this.#place.plan)], { execArgv: [] })
    this.#runners.push(runner)
    await Promise.race([
      once(runner, 'message'),
      once(runner, 'exit').then(([code]) => {
        throw new Error(`a runner has not started: ${String(code)}`)
      }),
    ])
  }

  /** Each has accounts of its own. */
  async #write(writer: number): Promise<void> {
    const { settings, plan } = this.#place
    const accounts = Math.ceil(Math.max(5, settings.events / writers / versionsPerAccount))
    const perCommand = plan.inBatches ? 250 : 50
    while (this.#written < settings.events) {
      const account = Math.floor(this.#random() * accounts) * writers + writer
      const id = `00000000-0000-4000-8000-${String(account).padStart(12, '0')}`
      const amounts = Array.from({ length: perCommand }, () => 1 + Math.floor(this.#random() * 9))
      try {
        await this.#application.execute(ledgers, id, 'change', amounts)
        this.#written += perCommand
      } catch (error) {
        // Who is stopped within a transaction on SQLite keeps all others from writing; a server that stops keeps its last answers.
        if (!isTransient(error) && !(error instanceof CommitUnknownError)) throw error
        await delay(20)
      }
    }
  }

  /** Strikes whoever works, spread over the whole run. */
  async #torment(): Promise<void> {
    const { kills, stops, events, restarts = 0, restart } = this.#place.settings
    const strikes = kills + stops + restarts
    for (let strike = 0; strike < strikes; strike += 1) {
      while (this.#written < (events / (strikes + 1)) * (strike + 1)) await delay(20)
      if (restart !== undefined && (strike + 1) * restarts >= (this.#restarts + 1) * strikes) {
        this.#restarts += 1
        await restart()
        continue
      }
      const victim = await this.#worker()
      if (this.#kills < kills && (this.#stops >= stops || this.#random() < 0.5)) await this.#kill(victim)
      else await this.#stop(victim)
    }
  }

  /** One that has a lease. */
  async #worker(): Promise<ChildProcess> {
    for (;;) {
      const rows = await settled(() =>
        this.#place.database.query('SELECT owner FROM ledgers_projections WHERE owner IS NOT NULL'),
      )
      const owners = rows.map(({ owner }) => String(owner).split(':').at(-2))
      const found = this.#runners.filter(({ pid }) => owners.includes(String(pid)))
      const victim = found[Math.floor(this.#random() * found.length)]
      if (victim !== undefined) return victim
      await delay(20)
    }
  }

  async #kill(victim: ChildProcess): Promise<void> {
    this.#kills += 1
    const ended = once(victim, 'exit')
    victim.kill('SIGKILL')
    await ended
    this.#runners.splice(this.#runners.indexOf(victim), 1)
    await this.#start()
  }

  /** For so long that others take its work over. */
  async #stop(victim: ChildProcess): Promise<void> {
    this.#stops += 1
    victim.kill('SIGSTOP')
    await delay(3 * leaseMs)
    victim.kill('SIGCONT')
  }

  async #rebuild(): Promise<void> {
    const { settings, plan } = this.#place
    const ways = plan.provider === 'sqlite' ? (['in-place'] as const) : (['atomic', 'shadow'] as const)
    for (const [index, way] of ways.entries()) {
      while (this.#written < (settings.events / (ways.length + 1)) * (index + 1)) await delay(20)
      for (let attempt = 0; attempt < rebuildAttempts && !(await this.#isRebuilt(way)); attempt += 1) await delay(500)
    }
  }

  async #isRebuilt(way: RebuildWay): Promise<boolean> {
    try {
      await this.#runner.rebuild('sums', { way })
      this.#rebuilds += 1
      return true
    } catch (error) {
      // A runner that is stopped within a transaction may keep it waiting until its lease has run out: others finish it then.
      if (error instanceof LeaseLostError || error instanceof CommitUnknownError || isTransient(error)) return false
      throw error
    }
  }

  async #verdict(): Promise<Omit<ProjectionTortureResult, 'seconds'>> {
    const { datastore } = this.#place
    const db = datastore.client
    const { counts, sums, events } = await this.#foldOfTheLog()
    const seen = new Map<string, number>()
    for (let last = 0; ; ) {
      const page = await db.owner.findMany({ where: { id: { gt: last } }, orderBy: { id: 'asc' }, take: rowsPerPage })
      for (const { id, dog } of page) {
        const event = dog.slice(0, dog.lastIndexOf('/'))
        seen.set(event, (seen.get(event) ?? 0) + 1)
        last = id
      }
      if (page.length < rowsPerPage) break
    }
    const found = new Map((await db.trickCount.findMany()).map((row) => [row.dog, row]))
    const wrong = [...counts].filter(([id, count]) => {
      const row = found.get(id)
      return row?.name !== String(count) || row.tricks !== sums.get(id)
    })
    return {
      events: events.length,
      kills: this.#kills,
      stops: this.#stops,
      restarts: this.#restarts,
      rebuilds: this.#rebuilds,
      doubled: events.filter((event) => (seen.get(event) ?? 0) > 1).length,
      missed: events.filter((event) => !seen.has(event)).length,
      wrongSums: wrong.length,
    }
  }

  async #foldOfTheLog(): Promise<{ counts: Map<string, number>; sums: Map<string, number>; events: string[] }> {
    const [counts, sums] = [new Map<string, number>(), new Map<string, number>()]
    const events: string[] = []
    const store = await this.#application.eventStore()
    let position: bigint | null = null
    for (;;) {
      const page = await this.#application.recorder.selectNotifications(position, 1_000, { inclusiveOfStart: false })
      if (page.length === 0) return { counts, sums, events }
      position = page.at(-1)?.id ?? position
      for (const { originatorId, originatorVersion, data } of await store.toDomainEvents(page)) {
        events.push(`${originatorId}/${originatorVersion}`)
        counts.set(originatorId, (counts.get(originatorId) ?? 0) + 1)
        sums.set(originatorId, (sums.get(originatorId) ?? 0) + Number(Reflect.get(data, 'amount')))
      }
    }
  }
}

async function stopped(runner: ChildProcess): Promise<void> {
  const ended = once(runner, 'exit')
  runner.send('stop')
  await ended
}

/** Asks until there is an answer: a server that starts again has none. */
async function settled<T>(ask: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await ask()
    } catch (error) {
      if (attempt === 200) throw error
      await delay(100)
    }
  }
}
