/** A writer of a torture run: transactions of random size and length, some rolled back, until it is told to stop. */
import { setTimeout as delay } from 'node:timers/promises'
import { isTransient, NAMESPACE_URL, PrismaApplicationRecorder, type PrismaDatastore, uuid5 } from '../../src/index.js'
import { now, randomNumbers, type WorkerPlan } from './plan.js'
import type { Report } from './report-file.js'

const lanes = 4
const rollbackShare = 0.08
const undo = new Error('undo')

/** Several transactions at a time, each lane with streams of its own. */
export async function write(
  plan: WorkerPlan,
  datastore: PrismaDatastore,
  report: Report,
  stop: AbortSignal,
): Promise<void> {
  const recorder = new PrismaApplicationRecorder(datastore)
  await Promise.all(
    Array.from(
      { length: lanes },
      async (_, lane) => await new Lane({ plan, datastore, recorder, report }, lane).run(stop),
    ),
  )
}

interface Workplace {
  readonly plan: WorkerPlan
  readonly datastore: PrismaDatastore
  readonly recorder: PrismaApplicationRecorder
  readonly report: Report
}

interface Stream {
  readonly id: string
  readonly version: number
}

class Lane {
  readonly #place: Workplace
  readonly #lane: number
  readonly #random: () => number
  #streams: readonly Stream[] = []
  #made = 0

  constructor(place: Workplace, lane: number) {
    const { seed, number, incarnation } = place.plan
    this.#place = place
    this.#lane = lane
    this.#random = randomNumbers(seed, number, incarnation, lane)
  }

  async run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const before = this.#pick()
      const after = before.map(({ id, version }) => ({ id, version: version + 1 + Math.floor(this.#random() * 15) }))
      try {
        await this.#transaction(before, after)
      } catch (error) {
        if (error === undo) continue
        // What the retries could not mend is tried again with other streams, as a server would with its next request.
        if (!isTransient(error)) throw error
        this.#streams = []
        continue
      }
      const committedAt = now()
      for (const { id, version } of after) this.#place.report.line(id, version, committedAt)
      const changed = new Set(after.map(({ id }) => id))
      this.#streams = [...this.#streams.filter(({ id }) => !changed.has(id)), ...after].slice(-20)
    }
  }

  async #transaction(before: readonly Stream[], after: readonly Stream[]): Promise<void> {
    const { datastore, recorder } = this.#place
    const openMs = this.#openMs()
    const rollsBack = this.#random() < rollbackShare
    await datastore.transaction(
      async (tx) => {
        for (const [index, { id, version }] of after.entries()) {
          const from = before[index]?.version ?? 0
          const events = Array.from({ length: version - from }, (_, n) => eventOf(id, from + n + 1))
          const predecessors = from === 0 ? [] : [{ originatorId: id, originatorVersion: from }]
          await recorder.appendEvents(events, { predecessors })
        }
        await tx.flush()
        await delay(openMs)
        if (rollsBack) throw undo
      },
      { retries: 20 },
    )
  }

  /** One to three streams, new ones or such as there are. */
  #pick(): Stream[] {
    const count = 1 + Math.floor(this.#random() * 3)
    const picked = new Map<string, Stream>()
    for (let n = 0; n < count; n += 1) {
      const known = this.#streams[Math.floor(this.#random() * this.#streams.length * 2)]
      const stream = known ?? this.#newStream()
      picked.set(stream.id, stream)
    }
    return [...picked.values()]
  }

  #newStream(): Stream {
    const { seed, number, incarnation } = this.#place.plan
    this.#made += 1
    const name = [seed, number, incarnation, this.#lane, this.#made].join('/')
    return { id: uuid5(NAMESPACE_URL, name), version: 0 }
  }

  /** Mostly short, now and then as long as a slow request. */
  #openMs(): number {
    const { longestOpenMs } = this.#place.plan
    const kind = this.#random()
    const longest = kind < 0.8 ? longestOpenMs / 40 : kind < 0.95 ? longestOpenMs / 4 : longestOpenMs
    return this.#random() * longest
  }
}

function eventOf(originatorId: string, originatorVersion: number) {
  const state = new TextEncoder().encode(JSON.stringify({ version: originatorVersion }))
  return { originatorId, originatorVersion, topic: 'Tortured', state }
}
