/** What is compared: the same work done by this library, by hand on the raw driver, and by hand on Prisma's raw queries. */

/** One way to do the work. */
export interface Contender {
  readonly name: string
  /** Stores a new dog with so many events. @returns its id */
  create(events: number): Promise<string>
  /** Rebuilds a dog. @returns its version */
  get(id: string): Promise<number>
  /** Rebuilds a dog and adds a trick to it. @returns false when another writer was first */
  command(id: string, inTransaction: boolean): Promise<boolean>
  /** Reads the log from its beginning, in pages of 1,000, as events. @param events - how many to read @returns how many there were */
  readLog(events: number): Promise<number>
  /** Follows the log from its beginning until so many events have come, one by one; undefined where there is no such thing. */
  readonly follow?: (events: number) => Promise<void>
  close(): Promise<void>
}

/** The size of a page when the log is read. */
export const pageSize = 1_000

/** What the dogs learn: with it, an event has about 200 bytes. */
export const trick = 'x'.repeat(140)
