/** Given some events, when a decision is made on facts, then these events follow: tests of decisions by tags, without a store. */
import { fail } from 'node:assert/strict'
import type { Decide, FactsByName, ValuesOf } from '../application/decisions.js'
import type { DomainEvent } from '../domain/event.js'
import { definitionOfEvent, type NamedEvent } from '../domain/event-definition.js'
import { type Facts, factsOf, shapesOfFacts } from '../domain/facts.js'
import { newEvent } from '../domain/new-event.js'
import { hasAllTags, Secret, type Tag } from '../domain/tags.js'
import { Timestamp } from '../domain/timestamp.js'
import { microsecondsOf, nextTime } from './fixed-sources.js'
import { type Outcome, outcomeOf } from './scenario-outcome.js'

/** Events that have happened. */
export interface FactsScenario {
  /**
   * Lets a decision be made, as `application.decide` does.
   *
   * @throws `AssertionError` where a given event is none that the items ask for
   */
  whenDecide<const Items extends FactsByName>(items: Items, decide: Decide<Items>): Outcome<undefined>
}

const originatorId = '00000000-0000-4000-8000-000000000001'

/**
 * Begins a scenario with the events that have happened, oldest first, in whatever stream.
 *
 * @param past - as definitions make them: `CourseDefined({ course: 'c', capacity: 10 })`
 *
 * @example
 * givenFacts(CourseDefined({ course: 'c', capacity: 1 }))
 *   .whenDecide({ taken: taken('c') }, ({ taken }) => subscribe(taken))
 *   .thenEvents(StudentSubscribed({ course: 'c', student: 's' }))
 */
export function givenFacts(...past: ReadonlyArray<NamedEvent<string, object>>): FactsScenario {
  const now = microsecondsOf(nextTime())
  const stored = past.map((event, index) =>
    factOf(event, index + 1, Timestamp.fromMicroseconds(now - (past.length - index) * 1000)),
  )
  return {
    whenDecide(items, decide) {
      const all = Object.entries(items)
      const outside = stored.find((event) => !all.some(([, facts]) => isAskedFor(event, facts)))
      if (outside !== undefined) {
        const { topic, tags = [] } = outside
        fail(
          `${topic} with ${tags.map(textOf).join(' and ') || 'no tags'} is given, and none of the facts ask for it: it would change nothing. ` +
            'Ask for it, or leave it out.',
        )
      }
      const story = { subject: 'facts', past, act: decide.toString() }
      try {
        const values = all.map(([name, facts]) => [name, valueOf(facts, stored)] as const)
        // By the names of the items, each the value of its facts.
        const decided: unknown = decide(Object.fromEntries(values) as ValuesOf<typeof items>)
        if (!Array.isArray(decided)) fail('The decision has to give a list of events, at once.')
        const events = decided.map((event: NamedEvent<string, object>, index) => factOf(event, index + 1))
        return outcomeOf(story, { state: undefined, events, change: undefined })
      } catch (error) {
        return outcomeOf<undefined>(story, { error, pending: [] })
      }
    },
  }
}

function factOf(event: NamedEvent<string, object>, originatorVersion: number, timestamp?: Date): DomainEvent {
  const definition = definitionOfEvent(event)
  if (definition === undefined)
    return fail(`Give events that definitions make, as ${event.type}({ … }) of defineEvent().`)
  const eventName = definition.name
  return newEvent(shapesOfFacts(definition), {
    eventName,
    originatorId,
    originatorVersion,
    data: { ...event.data },
    timestamp,
  })
}

function valueOf<Value>(facts: Facts<Value>, stored: readonly DomainEvent[]): Value {
  const asked = stored.filter((event) => isAskedFor(event, facts))
  return factsOf(facts, facts.onlyLast ? asked.slice(-1) : asked)
}

function isAskedFor({ topic, tags = [] }: DomainEvent, facts: Facts<unknown>): boolean {
  return facts.cases.has(topic.slice(topic.lastIndexOf('.') + 1)) && hasAllTags({ tags }, facts.tags)
}

function textOf({ name, value }: Tag): string {
  return `${name}:${value instanceof Secret ? value.reveal() : value}`
}
