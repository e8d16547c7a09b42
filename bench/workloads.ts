/** The rows of the bench: what each contender does in one round. */
import type { Contender } from './contender.js'
import { medians, type Result, type Timed } from './measure.js'

/** How thorough a run is. */
export interface Effort {
  /** At least 5. */
  readonly rounds: number
  /** Multiplies how much is done in a round. */
  readonly size: number
  /** Events in the log that is read. */
  readonly logSize: number
}

type Row = (contenders: readonly Contender[], effort: Effort) => Promise<Result>

/** All rows, by name. */
const rows: Readonly<Record<string, Row>> = {
  'save 1': (...given) => save(1, ...given),
  'save 10': (...given) => save(10, ...given),
  'save 100': (...given) => save(100, ...given),
  'save 1000': (...given) => save(1_000, ...given),
  'get 10': (...given) => get(10, ...given),
  'get 100': (...given) => get(100, ...given),
  'get 1000': (...given) => get(1_000, ...given),
  'command x1': (...given) => commands(1, false, ...given),
  'command x16': (...given) => commands(16, false, ...given),
  'command x1 in a transaction': (...given) => commands(1, true, ...given),
  'command x16 in a transaction': (...given) => commands(16, true, ...given),
  'hot aggregate, 16 writers': hotAggregate,
  'read the log': readLog,
  'follow the log': followLog,
}

/** The names of all rows. */
export const rowNames: readonly string[] = Object.keys(rows)

/** Runs the rows that are wanted, on contenders that share one database. */
export async function runWorkloads(
  contenders: readonly Contender[],
  effort: Effort,
  isWanted: (row: string) => boolean,
): Promise<Result[]> {
  const results: Result[] = []
  for (const [workload, row] of Object.entries(rows)) {
    if (isWanted(workload)) results.push({ ...(await row(contenders, effort)), workload })
  }
  return results
}

/** So many that a round takes some dozens of milliseconds: the collection of garbage belongs to what has made it. */
function operations(events: number, { size }: Effort): number {
  return Math.max(1, Math.round((100 * size) / (1 + events / 25)))
}

async function save(events: number, contenders: readonly Contender[], effort: Effort): Promise<Result> {
  const count = operations(events, effort)
  const timed = contenders.map(
    (contender): Timed => ({
      contender: contender.name,
      async work() {
        for (let n = 0; n < count; n += 1) await contender.create(events)
      },
    }),
  )
  return { workload: `save ${events}`, medians: await medians(effort.rounds, timed, count) }
}

async function get(events: number, contenders: readonly Contender[], effort: Effort): Promise<Result> {
  const count = operations(events, effort)
  const timed = await Promise.all(
    contenders.map(async (contender): Promise<Timed> => {
      const id = await contender.create(events)
      return {
        contender: contender.name,
        async work() {
          for (let n = 0; n < count; n += 1) expectCount(contender, await contender.get(id), events)
        },
      }
    }),
  )
  return { workload: `get ${events}`, medians: await medians(effort.rounds, timed, count) }
}

async function commands(
  inFlight: number,
  inTransaction: boolean,
  contenders: readonly Contender[],
  effort: Effort,
): Promise<Result> {
  const streamLength = 20
  const each = Math.max(1, Math.round((64 * effort.size) / inFlight))
  const timed = contenders.map((contender): Timed => {
    let ids: string[] = []
    return {
      contender: contender.name,
      async prepare() {
        ids = []
        for (let n = 0; n < inFlight * each; n += 1) ids.push(await contender.create(streamLength))
      },
      async work() {
        const worker = async (_: unknown, index: number): Promise<void> => {
          for (const id of ids.slice(index * each, (index + 1) * each)) {
            if (!(await contender.command(id, inTransaction))) throw new Error(`${contender.name} met a conflict`)
          }
        }
        await Promise.all(Array.from({ length: inFlight }, worker))
      },
    }
  })
  const place = inTransaction ? ' in a transaction' : ''
  return {
    workload: `command x${inFlight}${place}`,
    medians: await medians(effort.rounds, timed, inFlight * each),
  }
}

/** All change one aggregate; whoever comes second gets it again. */
async function hotAggregate(contenders: readonly Contender[], effort: Effort): Promise<Result> {
  const writers = 16
  const each = Math.max(1, Math.round(4 * effort.size))
  const timed = contenders.map((contender): Timed => {
    let id = ''
    return {
      contender: contender.name,
      async prepare() {
        id = await contender.create(20)
      },
      async work() {
        const writer = async (): Promise<void> => {
          for (let done = 0; done < each; ) if (await contender.command(id, false)) done += 1
        }
        await Promise.all(Array.from({ length: writers }, writer))
        expectCount(contender, await contender.get(id), 20 + writers * each)
      },
    }
  })
  return { workload: 'hot aggregate', medians: await medians(effort.rounds, timed, writers * each) }
}

async function readLog(contenders: readonly Contender[], { logSize, rounds }: Effort): Promise<Result> {
  const timed: Timed[] = []
  for (const contender of contenders) {
    await fill(contender, logSize)
    timed.push({
      contender: contender.name,
      work: async () => expectCount(contender, await contender.readLog(logSize), logSize),
    })
  }
  return { workload: 'read the log', medians: await medians(Math.min(rounds, 5), timed, logSize) }
}

async function followLog(contenders: readonly Contender[], { logSize, rounds }: Effort): Promise<Result> {
  const timed: Timed[] = []
  for (const contender of contenders) {
    await fill(contender, logSize)
    const { follow } = contender
    // By hand there is nothing but the reading of pages.
    const work = async (): Promise<unknown> =>
      await (follow === undefined ? contender.readLog(logSize) : follow(logSize))
    timed.push({ contender: contender.name, work })
  }
  return { workload: 'follow the log', medians: await medians(Math.min(rounds, 5), timed, logSize) }
}

/** Gives each log as many events: they have to be of one size. */
async function fill(contender: Contender, logSize: number): Promise<void> {
  for (let missing = logSize - (await contender.readLog(logSize)); missing > 0; missing -= 1_000) {
    await contender.create(Math.min(1_000, missing))
  }
}

function expectCount(contender: Contender, found: number, expected: number): void {
  if (found !== expected) throw new Error(`${contender.name} read ${found} events instead of ${expected}`)
}
