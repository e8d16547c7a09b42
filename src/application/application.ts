/** Applications: the commands and queries on a set of aggregates, with the store that keeps their events. */
import { checkOptions, described } from '../checked-options.js'
import { type Aggregate, type AggregateClass, isAggregate } from '../domain/aggregate.js'
import { type CommandArguments, type Decider, type DeciderState, decide, fold, initial } from '../domain/decider.js'
import { endedError, isEnded } from '../domain/event.js'
import { shapesOf } from '../domain/read-event.js'
import { beginAfter, initialAfter, isNew, rebuild } from '../domain/rebuild.js'
import { type SnapshotKind, takeSnapshot } from '../domain/snapshot.js'
import { queriedTags } from '../domain/tags.js'
import { AggregateEndedError, AggregateNotFoundError, ProgrammingError } from '../errors.js'
import { checkVariables, Environment, type EnvironmentVariables } from '../persistence/environment.js'
import type { EventStore, Recording } from '../persistence/event-store.js'
import type { Mapper } from '../persistence/mapper.js'
import { type LogOrder, logPosition, type ManagedApplicationRecorder } from '../persistence/recorder.js'
import type { StoredEvent } from '../persistence/stored-event.js'
import type { Transcoding } from '../persistence/transcodings.js'
import {
  type ApplicationOptions,
  actedOn,
  applicationOptionTypes,
  assertKeptName,
  type ConflictOptions,
  type ExecuteOptions,
  warnOfNamesake,
  withoutOptions,
} from './application-options.js'
import {
  type ApplicationSubscribeOptions,
  ApplicationSubscription,
  subscribeOptionTypes,
} from './application-subscription.js'
import type { Saveable } from './collected.js'
import { type Decide, type DecideOptions, Decisions, type FactsByName, type SaveOptions } from './decisions.js'
import { Infrastructure } from './infrastructure.js'
import { LocalNotificationLog, type NotificationLog } from './notification-log.js'
import { configuredCache } from './originator-cache.js'
import { type GetOptions, getOriginator, originatorIds, Repository } from './repository.js'
import { Saves, Snapshots } from './saves.js'
import { Timers } from './timers.js'

/**
 * The base of applications: methods that get aggregates from the repository, change them and save them.
 *
 * Its name is that of the class; a subclass may have a `static name` of its own, which a bundler does not change. A name of one or two
 * letters that a class has otherwise is refused where events are stored: a bundler has made it, and the tables with it.
 *
 * @typeParam Client - the client of the database inside `recorder.transaction`
 *
 * @example
 * class TrainingSchool extends Application {
 *   async register(name: string) {
 *     await this.save(new Dog(name))
 *   }
 * }
 */
export class Application<Client = unknown> {
  /** Variables of every application of this class; those of `process.env` count before them. */
  static readonly env?: EnvironmentVariables

  /** Transcodings for the events of every application of this class; those in the options count before them. */
  static readonly transcodings?: readonly Transcoding[]

  /** Whether the recorder also keeps how far the logs of other applications were processed; a `Follower` has that. Default false. */
  static readonly keepsTracking: boolean = false

  /** The variables of this application. */
  readonly environment: Environment
  /** Gets aggregates by id. */
  readonly repository: Repository
  /** The application's events in order. */
  readonly notificationLog: NotificationLog
  /** The names of the projections whose rows are written with the events. */
  readonly inline: readonly string[]
  readonly #infrastructure: Infrastructure<Client>
  readonly #snapshots: Snapshots
  readonly #saves: Saves<Client>
  #timers: Timers | undefined

  /**
   * Nothing is read or written here. What is named by variables is loaded at the first use, or by `ready()`.
   *
   * @throws `ProgrammingError` when the options contradict each other, and for options that there are not; `EnvironmentError` for
   * variables that cannot be meant
   */
  constructor(options: ApplicationOptions<Client> = {}) {
    const applicationClass = new.target
    const name = nameOf(applicationClass, options)
    const label = `the application ${name}`.trimEnd()
    checkOptions(`set up ${label}`, options, applicationOptionTypes)
    checkVariables(name, label, applicationClass.env)
    checkVariables(name, label, options.env)
    this.environment = new Environment(
      name,
      applicationClass.env,
      process.env,
      options.env,
      variablesOf(name, options.order),
    )
    const infrastructure = new Infrastructure<Client>(this.environment, {
      ...options,
      transcodings: [...(applicationClass.transcodings ?? []), ...(options.transcodings ?? [])],
      keepsTracking: applicationClass.keepsTracking,
    })
    this.#infrastructure = infrastructure
    if (infrastructure.isStored) assertKeptName(applicationClass, options)
    if (options.datastore !== undefined) warnOfNamesake(options.datastore, name, applicationClass)
    const isSnapshotting = options.snapshots ?? this.environment.getBoolean('IS_SNAPSHOTTING_ENABLED')
    this.#snapshots = new Snapshots(async () => await infrastructure.snapshotStore(), isSnapshotting)
    this.repository = new Repository(infrastructure.reader, {
      hasSnapshots: (kind) => this.#snapshots.isFor(kind),
      onAhead: (id) => this.#snapshots.noteAhead(id),
      cache: configuredCache(this.environment, options.cache),
      afterCommit: (fn) => infrastructure.afterCommit(fn),
      isProvisional: () => infrastructure.recorder.isProvisional?.() ?? false,
      onUndone: (id, fn) => infrastructure.recorder.onUndone?.(id, fn),
      watched: (call, work) => infrastructure.watched(call, work),
    })
    const { inline = [] } = options
    this.inline = inline.map(({ name }) => name)
    const listeners = { inline, onRecorded: this.recorded?.bind(this) }
    this.#saves = new Saves(infrastructure, this.repository, this.#snapshots, listeners)
    this.notificationLog = new LocalNotificationLog(infrastructure.log, options.sectionSize, infrastructure.textsOf)
  }

  /** What is to be done later: set and cleared in the current transaction, and handled by a reaction with `onTimer`. */
  get timers(): Timers {
    this.#timers ??= new Timers(this.#infrastructure)
    return this.#timers
  }

  /** The application's name; empty when it has none. */
  get name(): string {
    return this.environment.name
  }

  /**
   * The application's recorder.
   *
   * @throws `ProgrammingError` when it comes from a module that variables name and was not loaded yet: await `ready()` first
   */
  get recorder(): ManagedApplicationRecorder<Client> {
    return this.#infrastructure.recorder
  }

  /**
   * Loads what variables name. Without it the first use does the same.
   *
   * @throws `EnvironmentError` for variables that cannot be used; whatever a module throws while it is loaded
   */
  async ready(): Promise<this> {
    await this.#infrastructure.eventStore()
    return this
  }

  /** Reads and writes the application's events. */
  async eventStore(): Promise<EventStore> {
    return await this.#infrastructure.eventStore()
  }

  /** Reads and writes the application's snapshots. */
  async snapshotStore(): Promise<EventStore> {
    return await this.#infrastructure.snapshotStore()
  }

  /**
   * Stores the pending events of all objects, together or not at all: in the order of the objects, each object's in the
   * order they were triggered. Objects with nothing pending, null and undefined are passed over.
   *
   * The events are collected at once: those triggered while this is awaited belong to the next save.
   *
   * @returns one recording per event; inside a transaction a recording gets its notification at the flush
   * @throws `ConcurrencyError` when another writer was first, or an earlier save of one of the aggregates was not stored: get
   *   the aggregates again and repeat the command, since the collected events are gone
   * @throws `TranscodingNotRegisteredError` when an event has a value that cannot be stored
   */
  save(...objects: readonly Saveable[]): Promise<Recording[]>
  /**
   * The same, unless certain events are stored already: then nothing is. Or with a new life for what an event has ended.
   *
   * @param given - the objects, and last what is asked of the save: `{ unless: { tags, types } }`, `{ newLife: true }`
   * @throws `AppendConditionError` when such an event is stored, or was saved before in this transaction; what `save` throws
   *
   * @example
   * await shop.save(customer, { unless: { tags: { email }, types: [Registered] } })
   */
  save(...given: readonly [...objects: Saveable[], options: SaveOptions]): Promise<Recording[]>
  save(...given: ReadonlyArray<Saveable | SaveOptions>): Promise<Recording[]> {
    const call = { name: 'save', owner: Application.prototype, undone: () => [] }
    const last = given.at(-1)
    const options = isSaveOptions(last) ? last : undefined
    const objects = (options === undefined ? given : given.slice(0, -1)) as readonly Saveable[] // the others are no options
    const unless = options?.unless
    const request = unless === undefined ? {} : { unless: async () => (await this.#decisions()).conditions(unless) }
    const save = (): Promise<Recording[]> => this.#saves.save(objects, request)
    return this.#infrastructure.watched(
      call,
      options?.newLife === true
        ? async () => {
            await this.#beginAnew(objects)
            return await save()
          }
        : save,
    )
  }

  /**
   * Decides on events with certain tags, beyond one aggregate: reads what the facts ask for, lets `decide` say which events follow, and
   * saves those, in a stream of their own, unless another event that one of the facts asks for was stored meanwhile. Nothing decided is
   * nothing checked. In a transaction, that check is at its flush, and facts see what was saved in it before.
   *
   * @param items - what the decision is made from, by names of one's own
   * @param decide - is given the values by those names: pure and synchronous
   * @returns one recording for each event
   * @throws `AppendConditionError` when it was decided on what has changed: repeat it; in a transaction, that is what the commit throws
   * @throws whatever `decide` throws; `NotSupportedError` on PostgreSQL in a transaction at RepeatableRead or Serializable
   * @see https://dcb.events
   *
   * @example
   * await school.decide({ taken: taken(course), capacity: capacity(course) }, ({ taken, capacity }) => {
   *   if (taken >= capacity) throw new CourseFull()
   *   return [StudentSubscribed({ course, student })]
   * })
   */
  decide<const Items extends FactsByName>(
    items: Items,
    decide: Decide<Items>,
    options: DecideOptions = {},
  ): Promise<Recording[]> {
    const call = { name: 'decide', owner: Application.prototype, undone: () => [] }
    return this.#infrastructure.watched(call, async () => {
      const decisions = await this.#decisions()
      const work = async (): Promise<Recording[]> => {
        const { events, conditions } = await decisions.decide(items, decide, options)
        return await this.#saves.save(events, { unless: async () => conditions })
      }
      const isLocking = options.lock === true && this.recorder.hasTransactions !== false
      return isLocking ? await this.recorder.transaction(work) : await work()
    })
  }

  /**
   * Takes a snapshot of an originator, from which it is rebuilt from now on.
   *
   * @param options - `version`: default the latest
   * @throws `AggregateNotFoundError` when there is none with this id
   * @throws `ProgrammingError` when snapshots are off for this class or decider
   */
  takeSnapshot<State, Events extends object, Commands extends object>(
    kind: AggregateClass | Decider<State, Events, Commands>,
    id: string,
    options?: GetOptions,
  ): Promise<void> {
    const snapshotKind = kind as SnapshotKind // what it is a decider of does not matter here
    const call = { name: 'takeSnapshot', owner: Application.prototype }
    return this.#infrastructure.watched(call, async () => {
      this.#snapshots.assertFor(snapshotKind)
      const originator = await getOriginator(this.repository, snapshotKind, id, options)
      if (isEnded(originator)) throw endedError(`take a snapshot of ${id}`)
      await this.#snapshots.put(snapshotKind, takeSnapshot(snapshotKind, originator))
    })
  }

  /**
   * Gets the state of a decider's originator, lets it decide a command and saves the events.
   *
   * @param id - of an originator that may be new
   * @returns the state after the command
   * @throws whatever the command throws; what `save` throws
   */
  execute<State, Events extends object, Commands extends object, Name extends keyof Commands & string>(
    decider: Decider<State, Events, Commands>,
    id: string,
    command: Name,
    ...args: CommandArguments<Commands, Name>
  ): Promise<DeciderState<State>>
  /**
   * The same with options. With `{ newLife: true }` an originator that an event has ended begins anew, instead of the
   * `AggregateEndedError`. For a command that commutes with others: with `{ onConflict: 'redecide' }` it is decided again, on the newer events, where
   * another writer was first. In a transaction that is at its flush, and the handler does not run again.
   *
   * @returns the state after the command: provisional, since it may be decided on others
   */
  execute<State, Events extends object, Commands extends object, Name extends keyof Commands & string>(
    decider: Decider<State, Events, Commands>,
    id: string,
    command: Name,
    ...given: readonly [...args: CommandArguments<Commands, Name>, options: ExecuteOptions]
  ): Promise<DeciderState<State>>
  execute<State, Events extends object, Commands extends object, Name extends keyof Commands & string>(
    decider: Decider<State, Events, Commands>,
    id: string,
    name: Name,
    ...given: readonly unknown[]
  ): Promise<DeciderState<State>> {
    const call = { name: 'execute', owner: Application.prototype }
    const [args, options] = withoutOptions(given)
    // As the overloads say.
    const command = { name, args: args as unknown as CommandArguments<Commands, Name> }
    return this.#infrastructure.watched(call, async () => {
      assertDecider(decider, name)
      const before = await this.#currentState(decider, id, options.newLife === true)
      const decision = decide(decider, before, command)
      if (options.onConflict !== 'redecide') {
        await this.save(decision)
        return decision
      }
      const again = async (): Promise<Saveable> => {
        const store = await this.eventStore()
        const newer = await store.get(id, { gt: before.version, latest: true })
        return decide(decider, fold(decider, before, newer), command)
      }
      await this.#saves.save([decision], { again })
      return decision
    })
  }

  /**
   * Gets an aggregate, lets `change` change it, and saves it.
   *
   * @param change - acts at once on the aggregate that it is given, and on nothing else: with `onConflict: 'redecide'` it is called again, with
   *   the aggregate as it is by then, where another writer was first; in a transaction that is at its flush
   * @returns the aggregate; with `redecide` it is provisional: what is stored may be decided on newer events
   * @throws `AggregateNotFoundError` when there is none with this id; whatever `change` throws; what `save` throws
   *
   * @example
   * await blog.change(Article, id, (article) => article.favorite(user), { onConflict: 'redecide' })
   */
  change<A extends Aggregate<object>>(
    aggregateClass: AggregateClass<A>,
    id: string,
    change: (aggregate: A) => unknown,
    { onConflict = 'fail' }: ConflictOptions = {},
  ): Promise<A> {
    const call = { name: 'change', owner: Application.prototype }
    return this.#infrastructure.watched(call, async () => {
      const changed = actedOn(await this.repository.get(aggregateClass, id), change)
      const again = async (): Promise<Saveable> => {
        const store = await this.eventStore()
        return actedOn(rebuild(aggregateClass, await store.get(id, { latest: true })), change)
      }
      await this.#saves.save([changed], onConflict === 'redecide' ? { again } : {})
      return changed
    })
  }

  /**
   * Gives the ids of all aggregates of a class, or of all originators of a decider, in the order in which they were created; not of
   * those that an event has ended.
   * Ids are read in pages, as they are asked for.
   *
   * @example
   * for await (const id of school.aggregates(Dog)) await check(await school.repository.get(Dog, id))
   */
  async *aggregates<State, Events extends object, Commands extends object>(
    kind: AggregateClass | Decider<State, Events, Commands>,
  ): AsyncGenerator<string, void, undefined> {
    await this.ready()
    yield* originatorIds(this.recorder, kind)
  }

  /**
   * Follows the application's log, outside of any transaction: first the events that are there, then those saved from now on,
   * each once and in order. `break`, `stop()`, an abort of the signal or the end of an `await using` block end it. Its `pages()` give
   * the same with the position up to which the log was read, which whoever stores positions needs: with `topics` or `tags`, the last
   * event is not the end.
   *
   * @param options - `gt`: the last position that was processed, default null, from the beginning; `topics`; `tags`; `signal`;
   *   `onUnreadable`: 'skip' to pass over events that cannot be read
   * @throws `TypeError` when `gt` is no position, and for tags that are none
   * @throws from the iteration, `NotSupportedError` for tags with a recorder that keeps none, `MapperError` with the event's position when it cannot be read; what the recorder's subscription throws
   *
   * @example
   * const gt = await views.maxTrackingId('TrainingSchool')
   * for await (const { items, tracking } of school.subscribe({ gt, topics: topicsOf(Dog, 'Registered') }).pages()) {
   *   await datastore.transaction(async () => {
   *     await views.insertTracking(tracking)
   *     for (const { event } of items) await project(event)
   *   })
   * }
   */
  subscribe(options: ApplicationSubscribeOptions = {}): ApplicationSubscription {
    checkOptions(`subscribe to ${this.name}`, options, subscribeOptionTypes)
    const gt = logPosition(options.gt, 'gt')
    const tags = options.tags === undefined ? undefined : queriedTags(options.tags, `subscribe to ${this.name}`)
    return new ApplicationSubscription(this.name, { ...options, tags }, async () => {
      const store = await this.eventStore()
      const asked = tags === undefined ? [] : store.askedTags(tags)
      return { notifications: this.recorder.subscribe({ ...options, gt, tags: asked }), store }
    })
  }

  /**
   * Forgets a person, in the current transaction: deletes the key of the data that events of this application mark as personal.
   * From then on, events, and what is made of them, have `Erased` placeholders in their place, and new data of the same person
   * get a new key. Copies that were made of the database before can still be read: see docs/erasure.md.
   *
   * @param subject - the person, as events name them
   * @returns whether there was a key
   */
  forget(subject: string): Promise<boolean> {
    const call = { name: 'forget', owner: Application.prototype }
    return this.#infrastructure.watched(call, async () => {
      return await (await this.#infrastructure.personalDataKeys()).forget(subject)
    })
  }

  /**
   * Told what a save has stored, once that is committed, where a class has this method: what `Leader` prompts its followers by. What it
   * throws changes nothing that is stored.
   */
  protected recorded?(recordings: readonly Recording[]): void

  /** Makes the mapper that reads events of another application: by the variables with that one's name in front, else by those of this one. */
  protected async mapperOf(name: string): Promise<Mapper> {
    return await this.#infrastructure.mapperOf(name)
  }

  /** Gives up what the application opened itself: a datastore that was given to it stays open. */
  async close(): Promise<void> {
    await this.#infrastructure.close()
  }

  /** The same as `close`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #decisions(): Promise<Decisions> {
    const store = await this.#infrastructure.eventStore()
    return new Decisions(this.recorder, store)
  }

  async #currentState<State, Events extends object, Commands extends object>(
    decider: Decider<State, Events, Commands>,
    id: string,
    mayBeginAnew: boolean,
  ): Promise<DeciderState<State>> {
    try {
      return await this.repository.get(decider, id)
    } catch (error) {
      if (!(error instanceof AggregateNotFoundError)) throw error
      if (!(error instanceof AggregateEndedError)) return initial(decider, id)
      if (!mayBeginAnew) throw error
      const last = await this.#lastEvent(id)
      return initialAfter(decider, id, last?.originatorVersion ?? 0)
    }
  }

  /** Lets those that were created begin after a former life. */
  async #beginAnew(objects: readonly Saveable[]): Promise<void> {
    for (const object of objects) {
      if (!isAggregate(object) || !isNew(object)) continue
      const { endings, nameOf: eventNameOf } = shapesOf(object.constructor as AggregateClass) // of an aggregate
      const last = endings.size === 0 ? undefined : await this.#lastEvent(object.id)
      if (last !== undefined && endings.has(eventNameOf(last.topic) ?? '')) beginAfter(object, last.originatorVersion)
    }
  }

  async #lastEvent(id: string): Promise<StoredEvent | undefined> {
    const { recorder } = await this.eventStore()
    return (await recorder.selectEvents(id, { desc: true, limit: 1 }))[0]
  }
}

function assertDecider(decider: unknown, command: string): void {
  if (typeof decider === 'object' && decider !== null && 'decide' in decider) return
  throw new ProgrammingError(
    `Could not execute ${command}: ${described(decider)} is no decider. Call the command methods of aggregates, then save them.`,
  )
}

/** @throws `ProgrammingError` where a database was given in the place of the options */
function nameOf(applicationClass: { readonly name: string }, options: ApplicationOptions): string {
  // Whoever writes JavaScript may give anything.
  const given: unknown = options
  if (typeof given === 'object' && given !== null && 'infrastructureFactory' in given) {
    throw new ProgrammingError(
      `Could not set up the application ${applicationClass.name}: its argument is a datastore, and has to be an object of options: { datastore }.`,
    )
  }
  if (typeof options?.name === 'string') return options.name
  return applicationClass === Application ? '' : applicationClass.name
}

/** Recorders are made from variables alone. */
function variablesOf(name: string, order: LogOrder | undefined): EnvironmentVariables {
  return order === undefined ? {} : { [name === '' ? 'LOG_ORDER' : `${name.toUpperCase()}_LOG_ORDER`]: order }
}

/** Whether what was given to `save` says something about it, instead of being saved. */
function isSaveOptions(given: unknown): given is SaveOptions {
  if (typeof given !== 'object' || given === null || 'collectEvents' in given) return false
  return 'unless' in given || 'newLife' in given
}
