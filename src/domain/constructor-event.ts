/** The event of a decorated constructor: `new` triggers it, rebuilding runs the constructor with what it holds. */
import { tryRecordOf } from './aggregate.js'
import { type CreationEvent, type DeclaredEvent, eventsOf, markConstructor } from './aggregate-events.js'
import {
  type Construction,
  constructBy,
  constructionOf,
  creationEvent,
  newId,
  openConstruction,
} from './aggregate-record.js'
import { argumentsOfEvent, dataOfArguments, type Signature } from './event-data.js'

/** A class, as its decorator gets it. */
export type AnyConstructor = abstract new (...args: never[]) => object

/**
 * Puts in the place of a class one that triggers an event when it is constructed.
 *
 * The replacement is a Proxy with nothing but a `construct` trap, so that the name, static members, `instanceof`,
 * `new.target` and subclassing are those of the class itself.
 *
 * @param aggregateClass - a subclass of `Aggregate`
 * @param declared - the event, with one name per parameter of the constructor
 */
export function constructorEvent<C extends AnyConstructor>(
  aggregateClass: C,
  declared: Omit<DeclaredEvent, 'label'>,
): C {
  const owner = aggregateClass.prototype as object
  const creation: CreationEvent = { ...declared, owner, label: aggregateClass.name || 'a class' }
  markConstructor(creation)
  const replacement = new Proxy(aggregateClass, {
    construct(target, args: unknown[], newTarget) {
      const events = eventsOf(newTarget.prototype as object)
      // A decorated subclass has the event; this class is then constructed as any base class is.
      if (events.creation?.owner !== owner) return Reflect.construct(target, args, newTarget) as object
      if (events.constructorProblem !== undefined) throw new TypeError(events.constructorProblem)
      const stored = openConstruction(newTarget)
      if (stored !== undefined && !stored.isOwned) return repeated(target, stored, creation)
      return created(target, newTarget, { creation, args })
    },
  })
  Object.defineProperty(owner, 'constructor', { value: replacement, writable: true, configurable: true })
  return replacement
}

interface Call {
  readonly creation: CreationEvent
  readonly args: readonly unknown[]
}

function created(target: AnyConstructor, newTarget: NewableFunction, { creation, args }: Call): object {
  const signature: Signature = { label: `new ${creation.label}()`, parameterNames: creation.parameterNames }
  const given = dataOfArguments(signature, args)
  const originatorId = newId(newTarget, args)
  const event = creationEvent(newTarget, { eventName: creation.name, originatorId, ...given })
  const construction = constructionOf(newTarget, event, 'applying')
  return constructBy(construction, () => {
    const aggregate = construct(target, construction, creation)
    const record = tryRecordOf(aggregate)
    if (record !== undefined) {
      record.mode = 'live'
      record.pending.push(event)
    }
    return aggregate
  })
}

function repeated(target: AnyConstructor, construction: Construction, creation: CreationEvent): object {
  const modeAfter = construction.mode
  construction.mode = 'applying'
  const aggregate = construct(target, construction, creation)
  const record = tryRecordOf(aggregate)
  if (record !== undefined) record.mode = modeAfter
  return aggregate
}

function construct(target: AnyConstructor, construction: Construction, creation: CreationEvent): object {
  construction.isOwned = true
  const { event, newTarget } = construction
  const args = argumentsOfEvent(creation.parameterNames, event.data, event.timestamp)
  return Reflect.construct(target, args, newTarget) as object
}
