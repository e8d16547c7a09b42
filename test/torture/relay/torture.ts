/** Tortures a relay: its processes are killed, stopped and doubled while writers save, and what the broker has is compared with the log. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import type { ConsumeMessage } from 'amqplib'
import { PrismaDatastore } from '../../../src/index.js'
import { type CloudEvent, Inbox, readCloudEvent } from '../../../src/relay/index.js'
import { natsUrl, openQueue, openStream, rabbitUrl } from '../../relay/brokers.js'
import { bundled } from '../../support/bundled.js'
import type { TestDatabaseKind } from '../../support/databases.js'
import { Walk, Walks } from './walks.js'

const worker = new URL('./worker.ts', import.meta.url)

/** How hard. */
export interface RelayTorture {
  readonly broker: 'jetstream' | 'rabbitmq'
  readonly events: number
  readonly writers: number
  readonly kills: number
  readonly seed: number
}

/** What came of it. */
export interface RelayTortureResult {
  readonly stored: number
  readonly delivered: number
  readonly kills: number
  readonly stops: number
  readonly lost: number
  /** Messages that the stream has twice; from a queue, those whose work was done twice. */
  readonly doubled: number
  /** Messages that came a second time, and that the inbox has passed over. */
  readonly recognised: number
  readonly outOfOrder: number
  readonly seconds: number
}

/** What the other end of the broker has seen. */
interface Receiver {
  readonly place: string
  /** All that has come, in order, each time that its work was done. */
  received(expected: number): Promise<CloudEvent[]>
  recognised(): number
  close(): Promise<void>
}

const eventsPerSave = 5
const walksPerWriter = 5
const patienceMs = 60_000

/** @returns what was found; everything is gone afterwards */
export async function tortureRelay(kind: TestDatabaseKind, torture: RelayTorture): Promise<RelayTortureResult> {
  const database = await kind.createDatabase()
  const datastore = new PrismaDatastore({ adapter: database.adapter() })
  const walks = new Walks({ datastore, env: { CREATE_TABLE: 'true' } })
  await walks.ready()
  const random = randomOf(torture.seed)
  const receiver = await (torture.broker === 'jetstream' ? openReceivedStream() : openReceivedQueue(walks, datastore))
  const brokerUrl = (torture.broker === 'jetstream' ? natsUrl : rabbitUrl) ?? ''
  const args = [database.url, torture.broker, brokerUrl, receiver.place]
  const processes: ChildProcess[] = []
  const begun = performance.now()
  try {
    processes.push(await startRelay(args), await startRelay(args))
    const writing = write(walks, datastore, torture)
    let stops = 0
    for (let kills = 0; kills < torture.kills; kills += 1) {
      await delay(200 + random() * 800)
      processes.push(await startRelay(args))
      const [victim] = processes.splice(Math.floor(random() * (processes.length - 1)), 1)
      if (random() < 0.4 && victim !== undefined) {
        // Longer than its lease: another one works when it wakes up, with a page under way.
        victim.kill('SIGSTOP')
        stops += 1
        await delay(1_500)
        victim.kill('SIGCONT')
        await delay(random() * 500)
      }
      victim?.kill('SIGKILL')
    }
    await writing
    const log = await logOf(walks)
    const events = await receiver.received(log.length)
    return {
      ...compared(log, events),
      delivered: events.length,
      recognised: receiver.recognised(),
      kills: torture.kills,
      stops,
      seconds: (performance.now() - begun) / 1_000,
    }
  } finally {
    for (const child of processes) child.kill('SIGKILL')
    await receiver.close()
    await datastore.close()
    await database.drop()
  }
}

async function startRelay(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [bundled(worker), ...args], { stdio: ['pipe', 'pipe', 'inherit'] })
  if (child.stdout === null) throw new Error('the process has no output')
  await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])
  if (child.exitCode !== null) throw new Error(`A relay has ended with ${child.exitCode}`)
  return child
}

/** Saves several events at once, now and then in a transaction that commits after later ones. */
async function write(walks: Walks, datastore: PrismaDatastore, { events, writers, seed }: RelayTorture): Promise<void> {
  const saves = Math.ceil(events / writers / eventsPerSave)
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      const random = randomOf(seed + writer)
      const own = Array.from({ length: walksPerWriter }, () => new Walk())
      for (let save = 0; save < saves; save += 1) {
        const walk = own[save % walksPerWriter] ?? new Walk()
        // The first one creates it.
        for (let n = walk.version === 1 && save < walksPerWriter ? 1 : 0; n < eventsPerSave; n += 1) walk.step(save)
        if (random() < 0.02) {
          await datastore.transaction(async () => {
            await walks.save(walk)
            await delay(random() * 30)
          })
        } else await walks.save(walk)
      }
    }),
  )
}

interface LogEntry {
  readonly id: string
  readonly originatorId: string
}

async function logOf(walks: Walks): Promise<LogEntry[]> {
  const entries: LogEntry[] = []
  let start = 1n
  for (;;) {
    const page = await walks.recorder.selectNotifications(start, 2_000)
    for (const { id, originatorId } of page) entries.push({ id: `Walks/${id}`, originatorId })
    const last = page.at(-1)
    if (last === undefined) return entries
    start = last.id + 1n
  }
}

type Comparison = Pick<RelayTortureResult, 'stored' | 'lost' | 'doubled' | 'outOfOrder'>

function compared(log: readonly LogEntry[], events: readonly CloudEvent[]): Comparison {
  const seen = new Set<string>()
  const versions = new Map<string, number>()
  let doubled = 0
  let outOfOrder = 0
  for (const { id, subject = '', data } of events) {
    if (seen.has(id)) doubled += 1
    seen.add(id)
    const { version } = data as { readonly version: number } // as the worker's map gives it
    if (version !== (versions.get(subject) ?? 0) + 1) outOfOrder += 1
    versions.set(subject, version)
  }
  return { stored: log.length, lost: log.filter(({ id }) => !seen.has(id)).length, doubled, outOfOrder }
}

async function openReceivedStream(): Promise<Receiver> {
  // The server forgets at once what it has had: what keeps doubles away is the fence.
  const stream = await openStream(natsUrl ?? '', 100)
  const count = async (): Promise<number> => (await stream.manager.streams.info(stream.stream)).state.messages
  return {
    place: stream.subject,
    async received(expected) {
      await until(expected, count)
      await delay(2_000)
      return (await stream.messages()).map((message) => readCloudEvent(message))
    },
    recognised: () => 0,
    close: () => stream.close(),
  }
}

async function openReceivedQueue(application: Walks, datastore: PrismaDatastore): Promise<Receiver> {
  const queue = await openQueue(rabbitUrl ?? '')
  const inbox = new Inbox({ application, datastore })
  const events: CloudEvent[] = []
  const lastOf = new Map<string, Promise<void>>()
  let recognised = 0
  let arrived = performance.now()
  const channel = await queue.connection.createChannel()
  async function handle(event: CloudEvent, message: ConsumeMessage, before: Promise<void> | undefined): Promise<void> {
    await before
    if (!(await inbox.once(event, () => void events.push(event)))) recognised += 1
    channel.ack(message)
  }
  await channel.prefetch(200)
  await channel.consume(queue.queue, (message) => {
    if (message === null) return
    arrived = performance.now()
    const event = readCloudEvent(message)
    const key = event.partitionkey ?? ''
    // One after the other for each originator, as one consumer of a partition would.
    lastOf.set(key, handle(event, message, lastOf.get(key)))
  })
  return {
    place: queue.exchange,
    async received(expected) {
      await until(expected, () => Promise.resolve(events.length))
      // Doubles may still come.
      while (performance.now() - arrived < 3_000) await delay(200)
      await Promise.all(lastOf.values())
      return events
    },
    recognised: () => recognised,
    close: () => queue.close(),
  }
}

/** Waits until there are so many; what does not come for a while is lost, and counted afterwards. */
async function until(expected: number, count: () => Promise<number>): Promise<void> {
  let seen = -1
  let moved = performance.now()
  for (;;) {
    const now = await count()
    if (now >= expected) return
    if (now !== seen) moved = performance.now()
    seen = now
    if (performance.now() - moved > patienceMs) return
    await delay(200)
  }
}

/** The same numbers for the same seed. @see https://en.wikipedia.org/wiki/Linear_congruential_generator */
function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
