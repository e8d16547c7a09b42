/** Keeps a message from being processed twice: what was processed is noted in the transaction that processes it. */
import { checkOptions, having } from '../checked-options.js'
import { DataError, NotSupportedError, ProgrammingError } from '../errors.js'
import type { Environment } from '../persistence/environment.js'
import { logPosition } from '../persistence/recorder.js'
import type { InboxMessage, InboxRecorder } from '../persistence/side-recorders.js'

/** A database that has inboxes; a `PrismaDatastore` is one. */
export interface InboxDatastore {
  /** Makes the factory of the application whose environment this is. */
  infrastructureFactory(environment: Environment): InboxFactory
}

/** What makes the recorder of messages. */
export interface InboxFactory {
  /** Makes it; undefined where there can be none. */
  inboxRecorder?(): InboxRecorder | undefined
}

/** What an inbox needs of an `Application`. */
export interface InboxApplication {
  /** What its environment is that of. */
  readonly environment: Environment
}

/** How an inbox is set up. */
export interface InboxOptions {
  /** The application after which the table is named. */
  readonly application: InboxApplication
  /** The database with the table; it has to be the one that the work writes to. */
  readonly datastore: InboxDatastore
}

/** Bytes that the column of a source or an id has on every database. */
const longestKey = 1_020

/**
 * The messages that an application has processed. Brokers deliver at least once, and relays publish at least once: with an inbox the work is
 * done once all the same.
 *
 * @example
 * const inbox = new Inbox({ application: school, datastore })
 * await inbox.once(readCloudEvent(message), async () => await school.register('Fido'))
 * message.ack()
 */
export class Inbox {
  readonly #recorder: InboxRecorder

  /**
   * Nothing is read or written here.
   *
   * @throws `ProgrammingError` without an application or a datastore; `NotSupportedError` where the datastore has no inboxes
   */
  constructor(options: InboxOptions) {
    checkOptions('make an inbox', options, {
      application: { says: 'the application', fits: (value) => typeof value === 'object' && value !== null },
      datastore: having('infrastructureFactory', 'the PrismaDatastore that the work writes to'),
    })
    const { application, datastore } = options
    if (application === undefined || datastore === undefined) {
      throw new ProgrammingError(
        'Could not make an inbox: it needs an application and its datastore, new Inbox({ application, datastore }).',
      )
    }
    const recorder = datastore.infrastructureFactory(application.environment).inboxRecorder?.()
    if (recorder === undefined) throw new NotSupportedError('Could not make an inbox: its datastore has none.')
    this.#recorder = recorder
  }

  /** Makes the table as the Prisma schema has it, for tests and scripts; harmless where it exists. */
  async createTable(): Promise<void> {
    await this.#recorder.createTable()
  }

  /**
   * Does the work of a message, unless it was done before: a row for the message and the work are one transaction, the current one where there
   * is one. Acknowledge the message afterwards, whatever this returns. Where the same message is under way elsewhere, it waits for that.
   *
   * @param message - a `CloudEvent`, or anything that has a `source` and an `id`
   * @returns true where the work was done now, false where it was done before
   * @throws what the work throws, and nothing is noted then; `DataError` for a source or id of more than 1,020 bytes
   */
  async once(message: InboxMessage, work: () => unknown): Promise<boolean> {
    const source = checkedKey(message?.source, 'source')
    const id = checkedKey(message?.id, 'id')
    return await this.#recorder.once({ source, id }, async () => await work())
  }

  /**
   * The same for a source whose messages come one after the other, such as a stream that one consumer reads: one row says how far it has
   * come, in the table of tracking positions.
   *
   * @param message - `position` greater than that of the one before; `positionOf(event)` for what a relay has sent
   * @returns true where the work was done now, false where the source has come to this position or beyond
   */
  async inOrder(
    message: { readonly source: string; readonly position: bigint },
    work: () => unknown,
  ): Promise<boolean> {
    const source = checkedKey(message?.source, 'source')
    const position = logPosition(message.position, 'position')
    return await this.#recorder.inOrder(source, position, async () => await work())
  }

  /**
   * Forgets messages of `once` that were processed so long ago: longer than a broker may take to deliver one again. Run it from time to
   * time, in whatever process.
   *
   * @returns how many there were
   * @throws `ProgrammingError` for a duration that is none
   */
  async sweep({ olderThanMs }: { readonly olderThanMs: number }): Promise<number> {
    if (!(Number.isFinite(olderThanMs) && olderThanMs >= 0)) {
      throw new ProgrammingError(
        `Could not sweep an inbox of messages older than ${olderThanMs}: olderThanMs is a number of milliseconds from 0.`,
      )
    }
    return await this.#recorder.sweep(olderThanMs)
  }
}

function checkedKey(value: unknown, what: string): string {
  if (typeof value !== 'string' || value === '') {
    throw new ProgrammingError(
      `Could not take a message into the inbox: its ${what} is no text. Give inbox.once({ source, id }, work), or the event that readCloudEvent gives.`,
    )
  }
  if (value.includes('\0') || !value.isWellFormed() || Buffer.byteLength(value) > longestKey) {
    throw new DataError(
      `Could not take a message into the inbox: its ${what} has more than ${longestKey} bytes, or characters that a column cannot have. Make a ` +
        'shorter one of it, such as a hash.',
    )
  }
  return value
}
