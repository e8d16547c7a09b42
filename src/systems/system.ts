/** Systems: applications that follow each other, and what runs them in one process. */

import { Application } from '../application/application.js'
import type { ApplicationOptions } from '../application/application-options.js'
import { anything, checkOptions, described, having, text } from '../checked-options.js'
import {
  DatastoreClosedError,
  type FollowerError,
  NotificationPullingError,
  ProgrammingError,
  RunnerAlreadyStartedError,
  TopicError,
} from '../errors.js'
import { resolveTopic } from '../persistence/configured.js'
import type { EnvironmentVariables, InfrastructureSource } from '../persistence/environment.js'
import type { Recording } from '../persistence/event-store.js'
import { logPosition, type Subscription, type WaitOptions } from '../persistence/recorder.js'
import type { Notification } from '../persistence/stored-event.js'
import { outsideOfEverything } from '../transaction/context.js'
import { Follower } from './follower.js'
import { Following, reasonOf, untilAborted } from './following.js'
import { type ApplicationClass, type Leading, leaderClassOf, ProcessApplication } from './leader.js'

/** What else a system is told. */
export interface SystemOptions {
  /**
   * Where it can be found by other processes: a module and the name that it is exported by, such as `./system.js#system`. A module does not
   * know the names of its exports, so it says this itself: `new System([[Bank, Emails]], { topic: import.meta.url + '#system' })`.
   */
  readonly topic?: string
}

/**
 * A graph of applications: in each list, every application follows the one before it. One that appears several times is one application.
 *
 * @example
 * const system = new System([[Bank, Emails], [Bank, Statistics]])
 */
export class System {
  /** The classes, by the names of the applications, in the order of their first appearance. */
  readonly nodes: ReadonlyMap<string, ApplicationClass>
  /** Leader and follower, each pair once, in the order of their first appearance. */
  readonly edges: ReadonlyArray<readonly [leader: string, follower: string]>
  /** The followers of each leader, in the order of the edges. */
  readonly leads: ReadonlyMap<string, readonly string[]>
  /** The leaders of each follower, in the order of the edges. */
  readonly follows: ReadonlyMap<string, readonly string[]>
  readonly #topic: string | undefined
  readonly #leaderClasses = new Map<string, ApplicationClass<Application & Leading>>()

  /**
   * @throws `TypeError` for what is no class of applications; for a class that follows another one and is no `Follower`, and for one
   *   that leads as well and is no `ProcessApplication`
   * @throws `ProgrammingError` where two classes have one name
   */
  constructor(pipes: ReadonlyArray<readonly ApplicationClass[]>, options: SystemOptions = {}) {
    checkOptions<SystemOptions>('make a system', options, { topic: text })
    this.#topic = options.topic
    const nodes = new Map<string, ApplicationClass>()
    const edges = new Map<string, readonly [string, string]>()
    for (const pipe of pipes) {
      let leader: string | undefined
      for (const applicationClass of pipe) {
        const name = addNode(nodes, applicationClass)
        if (leader !== undefined) edges.set(JSON.stringify([leader, name]), [leader, name])
        leader = name
      }
    }
    this.nodes = nodes
    this.edges = [...edges.values()]
    this.leads = grouped(this.edges)
    this.follows = grouped(this.edges.map(([leader, follower]) => [follower, leader]))
    for (const name of this.follows.keys()) assertExtends(nodes, name, Follower, 'follows others')
    for (const name of this.processors) assertExtends(nodes, name, ProcessApplication, 'follows others and leads')
  }

  /** The names of those that others follow. */
  get leaders(): readonly string[] {
    return [...this.leads.keys()]
  }

  /** The names of those that others follow, and that follow nobody. */
  get leadersOnly(): readonly string[] {
    return this.leaders.filter((name) => !this.follows.has(name))
  }

  /** The names of those that follow others. */
  get followers(): readonly string[] {
    return [...this.follows.keys()]
  }

  /** The names of those that follow others, and that others follow. */
  get processors(): readonly string[] {
    return this.leaders.filter((name) => this.follows.has(name))
  }

  /** The names of those that neither follow nor lead. */
  get singles(): readonly string[] {
    return [...this.nodes.keys()].filter((name) => !this.leads.has(name) && !this.follows.has(name))
  }

  /**
   * Where it can be found: what was given as the option `topic`. `System.resolve` loads it.
   *
   * @throws `ProgrammingError` where none was given, as for a system that was made in a function
   */
  get topic(): string {
    if (this.#topic !== undefined) return this.#topic
    throw new ProgrammingError(
      'This system has no topic: where a module exports it, say so by `new System(pipes, { topic: import.meta.url + "#system" })`.',
    )
  }

  /**
   * Loads the system that a topic names.
   *
   * @throws `TopicError` where the module cannot be loaded, or does not export a system by that name
   */
  static async resolve(topic: string): Promise<System> {
    const named = await resolveTopic(topic)
    if (named instanceof System) return named
    throw new TopicError(`Cannot resolve the topic '${topic}' to a system: it names ${described(named)}.`)
  }

  /** The class of an application by its name. @throws `ProgrammingError` for a name that is not in the system */
  applicationClass(name: string): ApplicationClass {
    const applicationClass = this.nodes.get(name)
    if (applicationClass !== undefined) return applicationClass
    throw new ProgrammingError(
      `There is no application ${name} in this system: it has ${[...this.nodes.keys()].join(', ')}.`,
    )
  }

  /** The class of a leader: one that does not lead by itself is extended by what a `Leader` has. @throws `ProgrammingError` for another name */
  leaderClass(name: string): ApplicationClass<Application & Leading> {
    const known = this.#leaderClasses.get(name)
    if (known !== undefined) return known
    const made = leaderClassOf(this.applicationClass(name))
    this.#leaderClasses.set(name, made)
    return made
  }
}

function addNode(nodes: Map<string, ApplicationClass>, applicationClass: ApplicationClass): string {
  if (typeof applicationClass !== 'function' || !(applicationClass.prototype instanceof Application)) {
    throw new TypeError(
      `Could not make a system with ${described(applicationClass)}: give classes that extend Application.`,
    )
  }
  const { name } = applicationClass
  const known = nodes.get(name)
  if (known !== undefined && known !== applicationClass) {
    throw new ProgrammingError(
      `Could not make a system: two of its classes are called ${name}, and would have the same tables. Give one of them a \`static name\`.`,
    )
  }
  nodes.set(name, applicationClass)
  return name
}

function grouped(pairs: ReadonlyArray<readonly [string, string]>): Map<string, string[]> {
  const groups = new Map<string, string[]>()
  for (const [key, value] of pairs) {
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [value])
    else group.push(value)
  }
  return groups
}

function assertExtends(
  nodes: ReadonlyMap<string, ApplicationClass>,
  name: string,
  base: { readonly name: string; readonly prototype: Application },
  what: string,
): void {
  const isOne = Object.prototype.isPrototypeOf.call(base.prototype, nodes.get(name)?.prototype as object)
  if (!isOne) throw new TypeError(`Could not make a system: ${name} ${what}, so it has to extend ${base.name}.`)
}

/** What the applications of a system are made with. */
export interface SystemRunnerOptions {
  /** The variables of all of them; those with the name of one in front are for that one. */
  readonly env?: EnvironmentVariables
  /** The database of all of them; default: what their variables name, else memory. */
  readonly datastore?: InfrastructureSource
  /** Options of single ones, by their names, such as a datastore of its own; they count before `datastore` and `env`. */
  readonly applications?: Readonly<Record<string, ApplicationOptions>>
}

/**
 * Runs a system: makes its applications, and lets each follow its leaders, in this process. What a leader has recorded before is caught up with at the
 * start. The logs themselves wake the followers, after commits in this process and in others; whoever saves waits for nobody.
 *
 * For each leader one part of its log after the other is given to its followers, in the order of the system. Any number of processes may run one system:
 * each event is processed once. A follower that fails stands still there, and the others go on: see `watchForErrors`.
 *
 * @example
 * await using runner = new SystemRunner(new System([[Bank, Emails]]), { datastore })
 * await runner.start()
 * await runner.get(Bank).openAccount('Ann')
 */
export class SystemRunner {
  /** Which application follows which. */
  readonly system: System
  readonly #applications = new Map<string, Application>()
  readonly #followings: readonly Following[]
  readonly #subscriptions = new Set<Subscription<Notification>>()
  readonly #errors: FollowerError[] = []
  #stopping = new AbortController()
  #failing = new AbortController()
  #running: Promise<unknown> | undefined
  #starting: Promise<void> | undefined

  /**
   * Makes the applications: followers first, in the order of the system. Nothing is read or written here.
   *
   * @throws what their constructors throw; `ProgrammingError` for options of an application that the system does not have
   */
  constructor(system: System, options: SystemRunnerOptions = {}) {
    checkOptions<SystemRunnerOptions>('make a system runner', options, {
      env: anything,
      datastore: having('infrastructureFactory', 'a datastore'),
      applications: anything,
    })
    this.system = system
    for (const name of Object.keys(options.applications ?? {})) system.applicationClass(name)
    const { followers, leadersOnly, singles } = system
    for (const name of [...followers, ...leadersOnly, ...singles]) {
      const isLeader = system.leads.has(name)
      const applicationClass = isLeader ? system.leaderClass(name) : system.applicationClass(name)
      this.#applications.set(name, new applicationClass(optionsOf(options, name)))
    }
    this.#followings = system.edges.map(([leaderName, followerName]) => {
      const leader = this.#find(leaderName)
      const follower = this.#find(followerName) as Follower // the system has checked its class
      follower.follow(leaderName, leader)
      return new Following({ leaderName, leader, followerName, follower })
    })
  }

  /** The application of a class. @throws `ProgrammingError` for a class that is not in the system */
  get<A extends Application>(applicationClass: ApplicationClass<A>): A {
    return this.#find(applicationClass.name) as A // by its name the system knows it
  }

  /** Makes the tables of all applications as the Prisma schema has them, for tests and scripts; harmless where they exist. */
  async createTable(): Promise<void> {
    for (const application of this.#applications.values()) await (await application.ready()).recorder.createTable()
  }

  /** Whether it was started, and not stopped since. */
  get isStarted(): boolean {
    return this.#starting !== undefined
  }

  /**
   * Begins to run, beside what else this process does. A follower that has failed before tries again.
   *
   * @throws `RunnerAlreadyStartedError` where it runs already; what the applications throw when they are made ready
   */
  async start(): Promise<void> {
    if (this.#starting !== undefined) {
      throw new RunnerAlreadyStartedError(
        'Could not start a system runner: it runs already. Stop it first, or make another one.',
      )
    }
    this.#stopping = new AbortController()
    this.#failing = new AbortController()
    this.#errors.length = 0
    for (const following of this.#followings) following.error = undefined
    this.#starting = this.#begin()
    try {
      await this.#starting
    } catch (error) {
      this.#starting = undefined
      throw error
    }
  }

  /**
   * Ends what is being processed, and then processes nothing more; harmless where it does not run. The applications can still be used.
   *
   * @throws the error of the first follower that has failed, unless `watchForErrors` has thrown it
   */
  async stop(): Promise<void> {
    // It may be beginning.
    await this.#starting?.catch(() => undefined)
    this.#stopping.abort()
    for (const subscription of this.#subscriptions) subscription.stop()
    await this.#running
    this.#running = undefined
    this.#starting = undefined
    const [error] = this.#errors.splice(0)
    if (error !== undefined) throw error
  }

  /** Stops it, and closes its applications; a datastore that was given to them stays open. @throws what `stop` throws */
  async close(): Promise<void> {
    try {
      await this.stop()
    } finally {
      for (const application of this.#applications.values()) await application.close()
    }
  }

  /** The same as `close`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /**
   * Waits until a follower fails, and then stops the runner.
   *
   * @param timeoutMs - for how long; default until it is stopped
   * @returns false where the time is over, or the runner was stopped, and nobody has failed
   * @throws `EventProcessingError`, `NotificationPullingError` or `NotificationConvertingError`: that of the first who has failed
   */
  async watchForErrors(timeoutMs?: number): Promise<boolean> {
    const ended = AbortSignal.any([this.#failing.signal, this.#stopping.signal])
    if (this.#starting !== undefined) await untilAborted(ended, timeoutMs)
    if (this.#errors.length > 0) await this.stop()
    return false
  }

  /**
   * Waits until all followers of an application have processed what it has recorded up to a position. What they record themselves is
   * not waited for.
   *
   * @param leaderClass - the application that was saved in
   * @param position - in its log; or what a save has given
   * @param options - `timeoutMs`, default 1,000; `signal`
   * @throws the error of a follower that stands still before; `WaitTimeoutError`; `WaitInterruptedError`
   */
  async wait(
    leaderClass: ApplicationClass,
    position: bigint | null | readonly Recording[],
    options?: WaitOptions,
  ): Promise<void> {
    const awaited = positionOf(position)
    const followings = this.#of(this.#find(leaderClass.name).name)
    await Promise.all(followings.map(async (following) => await following.wait(awaited, options)))
  }

  /**
   * Processes what is recorded, and what follows from it, until there is nothing left, in this call, for tests. Where the runner has been
   * started, it waits for that.
   *
   * @param options - `timeoutMs` of that wait, default 60,000; `signal`
   * @throws what processing throws, at once
   */
  async runOnce(options: WaitOptions = {}): Promise<void> {
    for (const application of this.#applications.values()) await application.ready()
    if (this.#starting !== undefined) return await this.#level({ timeoutMs: 60_000, ...options })
    for (let hasMoved = true; hasMoved; ) {
      hasMoved = false
      for (const following of this.system.leaders.flatMap((name) => this.#of(name))) {
        const { leaderName, follower } = following.host
        const before = await following.position()
        await follower.pullAndProcess(leaderName)
        hasMoved ||= (await following.position()) !== before
      }
    }
  }

  #find(name: string): Application {
    const application = this.#applications.get(name)
    if (application !== undefined) return application
    this.system.applicationClass(name)
    throw new ProgrammingError(`There is no application ${name} in this runner.`)
  }

  /** The followers of a leader, in the order of the system. */
  #of(leader: string): readonly Following[] {
    return this.#followings.filter(({ host }) => host.leaderName === leader)
  }

  async #begin(): Promise<void> {
    for (const application of this.#applications.values()) await application.ready()
    const begun: Array<() => Promise<void>> = []
    for (const name of this.system.leaders) {
      const positions = await Promise.all(this.#of(name).map(async (following) => await following.position()))
      const gt = positions.reduce((least, each) => (each < least ? each : least))
      begun.push(async () => await this.#follow(name, gt))
    }
    // Whoever starts it may be a request, whose transaction is not that of a follower.
    this.#running = outsideOfEverything(async () => await Promise.all(begun.map(async (follow) => await follow())))
  }

  /** Gives the log of a leader to its followers, part by part. */
  async #follow(leaderName: string, gt: bigint): Promise<void> {
    const { signal } = this.#stopping
    const followings = this.#of(leaderName)
    const topics = topicsOf(followings)
    let subscription: Subscription<Notification> | undefined
    try {
      for (const following of followings) this.#note(await following.compare(signal))
      if (followings.every(({ error }) => error !== undefined)) return
      subscription = this.#find(leaderName).recorder.subscribe({ gt, topics, signal, onBeyondEnd: 'throw' })
      this.#subscriptions.add(subscription)
      for await (const page of subscription.pages()) {
        for (const following of followings) {
          if (following.error === undefined) this.#note(await following.give(page, signal))
        }
        if (signal.aborted || followings.every(({ error }) => error !== undefined)) return
      }
    } catch (error) {
      if (signal.aborted || error instanceof DatastoreClosedError) return
      const failure = new NotificationPullingError(
        `The log of ${leaderName} cannot be read, so its followers stand still: ${reasonOf(error)}.`,
        { cause: error, leader: leaderName },
      )
      for (const following of followings) following.error ??= failure
      this.#note(failure)
    } finally {
      await subscription?.[Symbol.asyncDispose]()
      if (subscription !== undefined) this.#subscriptions.delete(subscription)
    }
  }

  #note(error: FollowerError | undefined): void {
    if (error === undefined) return
    this.#errors.push(error)
    this.#failing.abort()
    process.emitWarning(`${error.message} The others go on. It is tried again when the runner is started again.`, {
      code: 'ES_SYSTEM_STANDS',
    })
  }

  /** Waits until nobody has anything left to process. */
  async #level(options: WaitOptions): Promise<void> {
    for (let before = ''; ; ) {
      const ends = new Map<string, bigint | null>()
      for (const name of this.system.leaders) ends.set(name, await this.#find(name).recorder.maxNotificationId())
      const now = [...ends].join()
      if (now === before) return
      before = now
      await Promise.all(
        this.#followings.map(async (each) => await each.wait(ends.get(each.host.leaderName) ?? null, options)),
      )
    }
  }
}

/** What the followers of one leader are to be given; empty for all. */
function topicsOf(followings: readonly Following[]): readonly string[] {
  const wanted = followings.map(({ host }) => host.follower.followTopics)
  return wanted.some(({ length }) => length === 0) ? [] : [...new Set(wanted.flat())]
}

function optionsOf({ env, datastore, applications = {} }: SystemRunnerOptions, name: string): ApplicationOptions {
  const own = applications[name] ?? {}
  const hasStore = own.datastore !== undefined || own.factory !== undefined || own.store !== undefined
  return {
    ...(datastore === undefined || hasStore ? {} : { datastore }),
    ...own,
    env: { ...env, ...own.env },
  }
}

function positionOf(position: bigint | null | readonly Recording[]): bigint | null {
  if (!Array.isArray(position)) return logPosition(position as bigint | null, 'position') // an array is the only other thing
  const last = (position as readonly Recording[]).at(-1)
  if (last === undefined) return null
  if (last.notification !== undefined) return last.notification.id
  throw new ProgrammingError('Could not wait for events that are not written yet: commit the transaction first.')
}
