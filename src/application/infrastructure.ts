/** What an application stands on: made from its options at once, or loaded from what its environment names at first use. */
import type { Tag } from '../domain/tags.js'
import { NotSupportedError, ProgrammingError } from '../errors.js'
import {
  configuredFactory,
  configuredMapper,
  type MapperParts,
  persistenceVariable,
} from '../persistence/configured.js'
import type { Environment, InfrastructureFactory, InfrastructureSource } from '../persistence/environment.js'
import { EventStore } from '../persistence/event-store.js'
import { InMemoryFactory } from '../persistence/in-memory-factory.js'
import type { Mapper } from '../persistence/mapper.js'
import { PersonalDataKeys, TagTexts } from '../persistence/personal-data-keys.js'
import type { ManagedApplicationRecorder, SubjectKeyRecorder, WatchedCall } from '../persistence/recorder.js'
import type { TimerRecorder } from '../persistence/side-recorders.js'
import { isUnderTest } from '../surroundings.js'
import type { LogRecorder } from './notification-log.js'
import type { EventReader } from './repository.js'

/** What was given instead of configured. */
export interface InfrastructureOptions<Client> extends MapperParts {
  readonly datastore?: InfrastructureSource<Client>
  readonly factory?: InfrastructureFactory<Client>
  readonly store?: 'memory'
  /** Whether the recorder keeps how far the logs of others were processed as well. */
  readonly keepsTracking?: boolean
}

/** An application's factory, recorder and event store, each made once. */
export class Infrastructure<Client> {
  /** Writes tags, with the key of the application. */
  readonly textsOf: (tags: readonly Tag[]) => readonly string[]
  readonly #tagTexts: TagTexts
  readonly #environment: Environment
  readonly #parts: MapperParts
  readonly #keepsTracking: boolean
  #factory: InfrastructureFactory<Client> | undefined
  #recorder: ManagedApplicationRecorder<Client> | undefined
  #eventStore: EventStore | undefined
  #snapshotStore: EventStore | undefined
  #personalDataKeys: PersonalDataKeys | undefined
  #timers: TimerRecorder | undefined
  #loading: Promise<EventStore> | undefined
  #isClosed = false

  /** @throws `ProgrammingError` when more than one of a datastore, a factory and a store are given */
  constructor(environment: Environment, options: InfrastructureOptions<Client>) {
    this.#environment = environment
    this.#tagTexts = new TagTexts(environment)
    this.textsOf = (tags) => this.#tagTexts.of(tags)
    this.#parts = options
    this.#keepsTracking = options.keepsTracking === true
    const given = (['datastore', 'factory', 'store'] as const).filter((option) => options[option] !== undefined)
    if (given.length > 1) {
      throw new ProgrammingError(`Could not set up ${this.#label} with both ${given.join(' and ')}: give one of them.`)
    }
    this.#factory = options.factory ?? options.datastore?.infrastructureFactory(environment)
    const isConfigured = this.#factory !== undefined || persistenceVariable(environment) !== undefined
    if (options.store === 'memory' || !isConfigured) this.#factory = new InMemoryFactory()
    if (given.length === 0 && !isConfigured && !isUnderTest()) warnOfMemory(this.#label)
  }

  /** Whether events outlive the process, as far as is known. */
  get isStored(): boolean {
    return !(this.#factory instanceof InMemoryFactory)
  }

  /** @throws `ProgrammingError` when the factory is still to be loaded, or the application was closed */
  get recorder(): ManagedApplicationRecorder<Client> {
    this.#assertOpen()
    const factory = this.#madeFactory
    this.#recorder ??= this.#keepsTracking ? factory.processRecorder() : factory.applicationRecorder()
    return this.#recorder
  }

  get #madeFactory(): InfrastructureFactory<Client> {
    if (this.#factory !== undefined) return this.#factory
    throw new ProgrammingError(
      `The recorder of ${this.#label} comes from a module that is not loaded yet: await application.ready() before its use`,
    )
  }

  /** The application's events, which load what is not loaded yet. */
  get reader(): EventReader {
    return {
      readPages: (...args) => {
        const store = this.eventStore()
        return store instanceof Promise ? store.then((loaded) => loaded.readPages(...args)) : store.readPages(...args)
      },
      readSinceSnapshot: async (...args) => {
        const snapshots = await this.snapshotStore()
        await (await this.eventStore()).readSinceSnapshot(snapshots.recorder, ...args)
      },
      has: async (originatorId) => await (await this.eventStore()).has(originatorId),
      lastTopic: async (originatorId) => {
        const { recorder } = await this.eventStore()
        return (await recorder.selectEvents(originatorId, { desc: true, limit: 1 }))[0]?.topic
      },
    }
  }

  /** The application's log, which loads what is not loaded yet. */
  get log(): LogRecorder {
    return {
      selectNotifications: async (start, limit, options) => {
        const store = await this.eventStore()
        if (options?.tags !== undefined) store.assertKeepsTags()
        return await this.recorder.selectNotifications(start, limit, options)
      },
      lastGivenNotificationId: async () => {
        await this.eventStore()
        return await this.recorder.lastGivenNotificationId?.()
      },
    }
  }

  /** Runs `fn` after the current transaction has committed, or at once where there is none. */
  afterCommit(fn: () => void): void {
    const { recorder } = this
    if (recorder.afterCommit === undefined) fn()
    else recorder.afterCommit(fn)
  }

  /** Runs a call of the application, at once: the current transaction knows of it, unless the recorder is still to be loaded. */
  watched<T>(call: WatchedCall<T>, work: () => Promise<T>): Promise<T> {
    if (this.#isClosed || this.#factory === undefined) return work()
    try {
      const recorder = this.#recorder ?? this.recorder
      const name = `${this.#environment.name || 'application'}.${call.name}`
      return recorder.watch === undefined ? work() : recorder.watch({ ...call, name }, work)
    } catch (error) {
      return Promise.reject(asError(error))
    }
  }

  /** Loads what is not loaded yet. After a failure the next call tries again. */
  eventStore(): EventStore | Promise<EventStore> {
    if (this.#eventStore !== undefined && !this.#isClosed) return this.#eventStore
    this.#loading ??= this.#load().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  /** The store of snapshots, made at its first use. */
  async snapshotStore(): Promise<EventStore> {
    const { mapper } = await this.eventStore()
    this.#snapshotStore ??= new EventStore(
      mapper,
      this.#madeFactory.aggregateRecorder('snapshots'),
      this.#keysWith(mapper),
    )
    return this.#snapshotStore
  }

  /** Makes the mapper of another application from its variables, else from those of this one, with the parts that this one was given. */
  async mapperOf(name: string): Promise<Mapper> {
    return await configuredMapper(this.#environment.named(name), this.#parts)
  }

  /** The keys of personal data. */
  async personalDataKeys(): Promise<PersonalDataKeys> {
    const { mapper } = await this.eventStore()
    return this.#keysWith(mapper)
  }

  /**
   * What keeps the timers, once it is loaded.
   *
   * @throws `NotSupportedError` where the factory keeps none
   */
  timerRecorder(): TimerRecorder {
    this.#assertOpen()
    this.#timers ??= this.#madeFactory.timerRecorder?.()
    if (this.#timers !== undefined) return this.#timers
    throw new NotSupportedError(`Could not use the timers of ${this.#label}: the factory of its recorders keeps none.`)
  }

  /** Closes the factory; harmless when that was done. */
  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    // What is being loaded would otherwise stay open; why it failed is told to those who wait for it.
    await this.#loading?.catch(() => undefined)
    await this.#factory?.close()
  }

  async #load(): Promise<EventStore> {
    this.#assertOpen()
    const mapper = await configuredMapper(this.#environment, this.#parts)
    this.#factory ??= await this.#configuredFactory()
    await this.#factory.prepare?.()
    this.#assertOpen()
    const log = this.#environment.name || undefined
    this.#eventStore = new EventStore(mapper, this.recorder, this.#keysWith(mapper), {
      log,
      tagTexts: this.#tagTexts,
    })
    return this.#eventStore
  }

  #keysWith(mapper: Mapper): PersonalDataKeys {
    let recorder: SubjectKeyRecorder | undefined
    this.#personalDataKeys ??= new PersonalDataKeys(
      mapper,
      () => (recorder ??= this.#madeFactory.subjectKeyRecorder?.()),
    )
    return this.#personalDataKeys
  }

  async #configuredFactory(): Promise<InfrastructureFactory<Client>> {
    const key = persistenceVariable(this.#environment)
    // The constructor has chosen a factory when there was no such variable, and environments do not change.
    if (key === undefined) throw new ProgrammingError(`${this.#label} has no persistence module`)
    // What a configured module's client is, is known only to who configures it.
    return (await configuredFactory(this.#environment, key)) as InfrastructureFactory<Client>
  }

  get #label(): string {
    return `the application ${this.#environment.name}`.trimEnd()
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new ProgrammingError(`Cannot use ${this.#label} after it was closed`)
  }
}

/** Events that were lost at the next start would be a bad way to find out. */
function warnOfMemory(label: string): void {
  process.emitWarning(
    `${label.charAt(0).toUpperCase()}${label.slice(1)} keeps its events in memory, where they are lost when the process ends. Give it ` +
      "the option `datastore`, set the variable PERSISTENCE_MODULE, or give `store: 'memory'` if that is what you want.",
    { code: 'ES_IN_MEMORY' },
  )
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error })
}
