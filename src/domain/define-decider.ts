/** The way to write a decider: its types follow from its functions, or from the definitions of its events. */
import type { Decider, DeciderEvent } from './decider.js'
import { eventShapesOf } from './decider-shapes.js'
import type { EventDeclaration } from './event-definition.js'
import type { PersonalData } from './personal-data.js'
import type { SnapshotPolicy } from './snapshot-policy.js'
import type { TagsOf } from './tags.js'
import type { FormerTopics } from './topic.js'
import type { Upcasts } from './upcasting.js'

/** The type of each event's data, as the definitions have it. */
export type EventsOfDefinitions<Definitions extends readonly EventDeclaration[]> = {
  readonly [Definition in Definitions[number] as Definition['name']]: Definition extends {
    /** The data of the event. */
    readonly dataType?: infer Data extends object
  }
    ? Data
    : never
}

/** The events that the definitions make when they are called. */
export type DefinedEvents<Definitions extends readonly EventDeclaration[]> =
  Definitions[number] extends infer Definition
    ? Definition extends (...data: never[]) => infer Event
      ? Event
      : never
    : never

/**
 * Gives a decider back with its types inferred: states from `initialState`, the data of events from the parameters in
 * `evolve`, commands from the parameters in `decide`.
 *
 * A command without parameters takes the state all the same, `(_state) => …`: the compiler looks at functions without any
 * parameter before it knows the events.
 *
 * @throws `TypeError` for a decider that cannot work: without a name, with asynchronous functions, or with upcasts, definitions or
 *   personal fields of events that `evolve` does not have
 *
 * @example
 * const dogs = defineDecider({
 *   name: 'Dog',
 *   initialState: () => ({ tricks: [] as readonly string[] }),
 *   evolve: { TrickAdded: (state, data: { trick: string }) => ({ tricks: [...state.tricks, data.trick] }) },
 *   decide: { addTrick: (state, trick: string) => [{ type: 'TrickAdded', data: { trick } }] },
 * })
 */
export function defineDecider<
  State,
  Events extends object,
  const Commands extends Readonly<Record<string, readonly unknown[]>>,
>(definition: {
  readonly name: string
  readonly formerTopics?: FormerTopics
  readonly upcasts?: Upcasts
  readonly snapshots?: SnapshotPolicy
  readonly personal?: PersonalData
  readonly tags?: { readonly [Name in keyof NoInfer<Events>]?: TagsOf<NoInfer<Events>[Name] & object> }
  initialState(): State
  readonly evolve: { readonly [Name in keyof Events]: (state: State, data: Events[Name]) => State }
  readonly decide: {
    readonly [Command in keyof Commands]: (
      state: State,
      ...args: Commands[Command]
    ) => readonly DeciderEvent<NoInfer<Events>>[]
  }
}): Decider<State, Events, Commands>
/**
 * The same, with the definitions of its events, from which the types of their data follow.
 *
 * @example
 * const dogs = defineDecider([TrickAdded], {
 *   name: 'Dog',
 *   initialState: () => ({ tricks: [] as readonly string[] }),
 *   evolve: { TrickAdded: (state, { trick }) => ({ tricks: [...state.tricks, trick] }) },
 *   decide: { addTrick: (state, trick: string) => [TrickAdded({ trick })] },
 * })
 */
export function defineDecider<
  State,
  const Definitions extends readonly EventDeclaration[],
  const Commands extends Readonly<Record<string, readonly unknown[]>>,
>(
  events: Definitions,
  definition: {
    readonly name: string
    readonly formerTopics?: FormerTopics
    readonly upcasts?: Upcasts
    readonly snapshots?: SnapshotPolicy
    readonly personal?: PersonalData
    initialState(): State
    readonly evolve: {
      readonly [Name in keyof EventsOfDefinitions<Definitions>]: (
        state: State,
        data: EventsOfDefinitions<Definitions>[Name],
      ) => State
    }
    readonly decide: {
      readonly [Command in keyof Commands]: (
        state: State,
        ...args: Commands[Command]
      ) => ReadonlyArray<DefinedEvents<Definitions>>
    }
  },
): Decider<State, EventsOfDefinitions<Definitions>, Commands>
export function defineDecider(
  ...given: readonly [AnyDecider] | readonly [readonly EventDeclaration[], AnyDecider]
): AnyDecider {
  const decider = given.length === 1 ? given[0] : { ...given[1], events: given[0] }
  // What is wrong with it is to be found now, and not when the first event is decided.
  eventShapesOf(decider)
  return decider
}

type AnyDecider = Decider<unknown, object, object>
