/** What is compared: the same work done by this library, by hand on the raw driver, and by hand on Prisma's raw queries. */

/** An event as every contender stores it. */
export interface BenchEvent {
  readonly originatorId: string
  readonly originatorVersion: number
  readonly topic: string
  readonly state: Uint8Array
}

/** One way to do the work. */
export interface Contender {
  readonly name: string
  /** Appends events as one save does. */
  append(events: readonly BenchEvent[]): Promise<void>
  /** Reads a stream. @returns how many events it has */
  load(originatorId: string): Promise<number>
  /** In one transaction: reads a stream, then appends an event to it. */
  command(event: BenchEvent): Promise<void>
  /** Reads the log from its beginning in pages of 1,000. @returns how many events it has */
  readLog(): Promise<number>
  close(): Promise<void>
}

/** The size of a page when the log is read. */
export const pageSize = 1_000

/** Events of one stream with 200 bytes of state. */
export function eventsOf(originatorId: string, first: number, count: number): BenchEvent[] {
  return Array.from({ length: count }, (_, index) => ({
    originatorId,
    originatorVersion: first + index,
    topic: 'Dog.TrickAdded',
    state,
  }))
}

const state = Buffer.from(
  JSON.stringify({ timestamp: '2026-01-01T00:00:00.000000+00:00', trick: 'x'.repeat(140) }).padEnd(200),
)
