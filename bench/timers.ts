/** `npm run bench -- --timers`: how many timers a second some runners handle that are all due at once, and how late one is. */
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Application, defineReaction, onTimer, PrismaDatastore, ProjectionRunner } from 'eventsourcing-prisma'
import type { TestClient } from '../test/prisma/open-database.js'
import { databases, type TestDatabaseKind } from '../test/support/databases.js'

const { values } = parseArgs({
  options: {
    timers: { type: 'boolean' },
    count: { type: 'string', default: '10000' },
    runners: { type: 'string', default: '4' },
    late: { type: 'string', default: '40' },
  },
})
const [count, runnerCount, lateCount] = [Number(values.count), Number(values.runners), Number(values.late)]

class Clock extends Application {}

async function bench(kind: TestDatabaseKind): Promise<void> {
  const database = await kind.createDatabase()
  const datastores = Array.from(
    { length: runnerCount + 1 },
    () =>
      new PrismaDatastore<TestClient>({
        adapter: database.adapter(),
        client: (adapter) => database.newClient(adapter) as TestClient,
      }),
  )
  const [setter, ...others] = datastores
  if (setter === undefined) return
  try {
    const clock = new Clock({ datastore: setter })
    await clock.recorder.createTable()
    const seen = new Map<string, number>()
    const lateness: number[] = []
    const runners = others.map((datastore) => {
      const application = new Clock({ datastore })
      const reaction = defineReaction({
        name: 'clock',
        on: [
          onTimer('row', async ({ id }) => {
            await datastore.client.owner.create({ data: { name: 'x', dog: id } })
          }),
          onTimer('late', ({ id, at }) => {
            lateness.push(Date.now() - at.getTime())
            seen.set(id, (seen.get(id) ?? 0) + 1)
          }),
        ],
      })
      return new ProjectionRunner({ application, datastore, projections: [reaction] })
    })
    await runners[0]?.createTable()
    for (let set = 0; set < count; set += 500) {
      const part = Array.from({ length: Math.min(500, count - set) }, (_, n) => `timer ${set + n}`)
      await setter.transaction(
        async () => {
          for (const id of part) await clock.timers.set({ id, at: new Date(Date.now() - 60_000), topic: 'row' })
        },
        { deadlineMs: 60_000 },
      )
    }
    const cleared = Array.from({ length: Math.floor(count / 100) }, (_, n) => `timer ${n * 100}`)
    for (const id of cleared) await clock.timers.clear(id)
    const start = performance.now()
    await Promise.all(runners.map((runner) => runner.start()))
    while ((await clock.timers.pending({ limit: 1 })).length > 0) await delay(20)
    const seconds = (performance.now() - start) / 1000
    const rows = await setter.client.owner.findMany({ select: { dog: true } })
    const once = new Set(rows.map(({ dog }) => dog))
    const shares = runners.map(({ stats }) => stats['clock']?.timers?.fired ?? 0)
    const isRight = rows.length === count - cleared.length && once.size === rows.length
    const wrongly = cleared.filter((id) => once.has(id)).length
    console.log(
      `${kind.name}: ${count - cleared.length} timers due at once on ${runnerCount} runners, ${Math.round(count / seconds)} a second, ` +
        `each once: ${isRight}, cleared and handled: ${wrongly}, by runner: ${shares.join(', ')}`,
    )
    // Set by another datastore, which tells the runners nothing.
    for (let n = 0; n < lateCount; n += 1) {
      await clock.timers.set({ id: `late ${n}`, at: new Date(Date.now() + (n % 8) * 300), topic: 'late' })
      await delay(137)
    }
    while (seen.size < lateCount) await delay(20)
    const sorted = lateness.toSorted((a, b) => a - b)
    const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
    console.log(
      `${kind.name}: late by p50 ${at(0.5)} ms, p90 ${at(0.9)} ms, most ${at(1)} ms, set elsewhere up to 2.1 s ahead`,
    )
    await Promise.all(runners.map((runner) => runner.stop()))
  } finally {
    await Promise.all(datastores.map((datastore) => datastore.close()))
    await database.drop()
  }
}

for (const kind of databases) await bench(kind)
