/** Applications that prompt others when they have recorded something. */
import { Application } from '../application/application.js'
import type { ApplicationOptions } from '../application/application-options.js'
import type { Recording } from '../persistence/event-store.js'
import { Follower, Prompts, type RecordingEventReceiver } from './follower.js'

/** What a class of leaders adds to an application. */
export interface Leading {
  /** Lets somebody be told what this application records from now on, once it is committed. */
  lead(receiver: RecordingEventReceiver): void
}

/**
 * An application that tells others what it has recorded. Who processes a log has no need of that where a `SystemRunner` runs: the log itself
 * wakes its followers.
 *
 * @example
 * emails.follow('Bank', bank)
 * bank.lead(emails)
 */
export class Leader<Client = unknown> extends Application<Client> implements Leading {
  /** The topics of the events that others are told of; empty, the default, for all. */
  static readonly notifyTopics: readonly string[] = []

  readonly #prompts = new Prompts()

  /** The topics of the events that others are told of; empty for all. */
  get notifyTopics(): readonly string[] {
    return (this.constructor as typeof Leader).notifyTopics // of the class of this object
  }

  lead(receiver: RecordingEventReceiver): void {
    this.#prompts.add(receiver)
  }

  protected override recorded(recordings: readonly Recording[]): void {
    this.#prompts.send(this.name, recordings, this.notifyTopics)
  }
}

/**
 * An application that follows the logs of others, and whose own log others follow.
 *
 * @example
 * class Emails extends ProcessApplication {
 *   override async policy(event: DomainEvent, processing: ProcessingEvent) {
 *     const opened = readEvent(Account, 'Opened', event)
 *     if (opened !== undefined) processing.collectEvents(new Email(opened.data.address))
 *   }
 * }
 */
export abstract class ProcessApplication<Client = unknown> extends Follower<Client> implements Leading {
  /** The topics of the events that others are told of; empty, the default, for all. */
  static readonly notifyTopics: readonly string[] = []

  readonly #prompts = new Prompts()

  /** The topics of the events that others are told of; empty for all. */
  get notifyTopics(): readonly string[] {
    return (this.constructor as typeof ProcessApplication).notifyTopics // of the class of this object
  }

  lead(receiver: RecordingEventReceiver): void {
    this.#prompts.add(receiver)
  }

  protected override recorded(recordings: readonly Recording[]): void {
    this.#prompts.send(this.name, recordings, this.notifyTopics)
  }
}

/**
 * A projection whose state are events: its `policy` collects events of its own aggregates, which are stored with the position. It stands in
 * the place of a follower in a `System`.
 *
 * @example
 * class Counters extends EventSourcedProjection {
 *   static override readonly topics = topicsOf(Dog, 'Registered')
 *   override async policy(_event: DomainEvent, processing: ProcessingEvent) {
 *     processing.collectEvents(await this.count('dogs'))
 *   }
 * }
 */
export abstract class EventSourcedProjection<Client = unknown> extends Follower<Client> {
  /** The topics of the events that are processed; empty, the default, for all. */
  static readonly topics: readonly string[] = []

  override get followTopics(): readonly string[] {
    const { topics, followTopics } = this.constructor as typeof EventSourcedProjection // of the class of this object
    return topics.length > 0 ? topics : followTopics
  }
}

/** A class of applications, as a system takes one: its constructor takes the options of an application. */
export type ApplicationClass<A extends Application = Application> = new (options?: ApplicationOptions) => A

/** Gives a class that leads: the class itself, or one that extends it, of the same name. */
export function leaderClassOf(applicationClass: ApplicationClass): ApplicationClass<Application & Leading> {
  if (isLeading(applicationClass)) return applicationClass
  class Led extends applicationClass implements Leading {
    readonly #prompts = new Prompts()

    lead(receiver: RecordingEventReceiver): void {
      this.#prompts.add(receiver)
    }

    protected override recorded(recordings: readonly Recording[]): void {
      super.recorded?.(recordings)
      this.#prompts.send(this.name, recordings, [])
    }
  }
  Object.defineProperty(Led, 'name', { value: applicationClass.name, configurable: true })
  return Led
}

function isLeading(applicationClass: ApplicationClass): applicationClass is ApplicationClass<Application & Leading> {
  return 'lead' in applicationClass.prototype
}
