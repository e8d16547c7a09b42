/** Systems: which application follows which. */
import { Application } from '../application/application.js'
import { checkOptions, described, text } from '../checked-options.js'
import { ProgrammingError, TopicError } from '../errors.js'
import { resolveTopic } from '../persistence/configured.js'
import { Follower } from './follower.js'
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
