/** `@event` and `@applies`: make a method, a setter or the constructor of a class trigger an event, or only apply one. */
import { ProgrammingError } from '../errors.js'
import { Aggregate, triggerEvent, tryRecordOf } from './aggregate.js'
import {
  alreadyDefined,
  type CreationEvent,
  type DeclaredEvent,
  eventsOf,
  isMarked,
  type MethodEvent,
  markConstructor,
  markMethod,
} from './aggregate-events.js'
import { type Construction, constructBy, openConstruction } from './aggregate-record.js'
import { argumentsOfEvent, dataOfArguments, type EventData, reservedDataNames, type Signature } from './event.js'
import { assertPlainFunction, checkEventName, type EventDefinition, isEventDefinition } from './event-definition.js'
import type { EventDecorator, MemberDecorator } from './event-fit.js'
import { creationEvent } from './event-shapes.js'
import { newId } from './names.js'

/** What can be said of an event beside its parameters; of one with a definition, there. */
export interface EventOptions {
  /** Whether the event ends its aggregate; see `ends` of a definition. */
  readonly ends: boolean
}

/** The names that the parameters for an event's data can have. */
type ParameterName<Data extends object> = (keyof Data & string) | 'timestamp'

/**
 * Makes a method of an aggregate trigger an event; on a setter, assigning does, and on a class, its constructor.
 *
 * Calling the method triggers the event: its data are the arguments under the given names, its body is the change that
 * the event makes, now and whenever the aggregate is rebuilt. What the body returns is returned. When it throws there is
 * no event and the aggregate's state is put back (`#private` members excepted: check before you change those). The body
 * is given copies of arrays and plain objects, so that the event keeps what it was given. An argument that is left out
 * is not in the event: its default value is computed again at each rebuild.
 *
 * On a class, `new` triggers the event, with an id from the class's `createId`; rebuilding runs the constructor again. A
 * subclass triggers the same event under its own topic; one with constructor parameters of its own is decorated itself.
 * A parameter named `timestamp` is the event's own time: a Date, or undefined for now.
 *
 * Other decorators on the same method go below this one.
 *
 * @param event - a name, without dots, or an event definition
 * @param parameterNames - one per parameter, in order; none where a single plain object is the data itself
 * @throws `TypeError`, when the class is defined, for unusable names, names that do not fit the parameters, asynchronous bodies,
 *   generators, and anything but public instance methods, setters and classes. Two events of one name are found then as well; in a class that is not
 *   decorated itself, and where the compiler gives decorators no metadata (tsc), at the first use of the class
 */
export function event<const Name extends string, const Names extends readonly string[]>(
  event: Name,
  ...parameterNames: Names
): EventDecorator<Names, EventData, Name>
/** The same with options, which come last: `@event('Closed', { ends: true })`. */
export function event<const Name extends string, const Names extends readonly string[]>(
  event: Name,
  ...given: readonly [...parameterNames: Names, options: EventOptions]
): EventDecorator<Names, EventData, Name>
/** The same for an event that is defined elsewhere. */
export function event<
  Input extends object,
  Data extends object,
  const Names extends ReadonlyArray<ParameterName<Data>>,
>(definition: EventDefinition<string, Input, Data>, ...parameterNames: Names): EventDecorator<Names, Data>
export function event(event: unknown, ...given: readonly unknown[]): unknown {
  const last = given.at(-1)
  const options = isEventOptions(last) ? last : {}
  const parameterNames = (isEventOptions(last) ? given.slice(0, -1) : given) as readonly string[] // checked by `declared`
  return decoratorOf({ ...declared(event, parameterNames), ...options, isCallable: true })
}

function isEventOptions(value: unknown): value is EventOptions {
  return typeof value === 'object' && value !== null && 'ends' in value
}

/**
 * Makes a method the body of an event that something else triggers, such as `this.trigger('Confirmed', { at })`: it applies
 * the event, now and at each rebuild, and cannot be called. In everything else it is as `event`, but for classes.
 *
 * @param event - a name, without dots, or an event definition
 * @param parameterNames - one per parameter, in order; none where a single plain object is the data itself
 * @throws `TypeError` as `event` does; calling the method throws a `ProgrammingError`
 *
 * @example
 * class Order extends Aggregate {
 *   confirm(at: Date) {
 *     if (this.confirmedAt === undefined) this.trigger('Confirmed', { at })
 *   }
 *   @applies('Confirmed', 'at') protected whenConfirmed(at: Date) {
 *     this.confirmedAt = at
 *   }
 * }
 */
export function applies<const Name extends string, const Names extends readonly string[]>(
  event: Name,
  ...parameterNames: Names
): MemberDecorator<Names, EventData, Name>
/** The same for an event that is defined elsewhere. */
export function applies<
  Input extends object,
  Data extends object,
  const Names extends ReadonlyArray<ParameterName<Data>>,
>(definition: EventDefinition<string, Input, Data>, ...parameterNames: Names): MemberDecorator<Names, Data>
export function applies(event: unknown, ...parameterNames: readonly string[]): unknown {
  return decoratorOf({ ...declared(event, parameterNames), isCallable: false })
}

interface Declared extends Omit<DeclaredEvent, 'label'> {
  /** Whether calling the method triggers the event. */
  readonly isCallable: boolean
}

function declared(event: unknown, parameterNames: readonly string[]): Omit<Declared, 'isCallable'> {
  const definition = isEventDefinition(event) ? event : undefined
  const name = checkEventName(definition === undefined ? event : definition.name)
  checkParameterNames(name, parameterNames)
  return { name, definition, parameterNames }
}

function decoratorOf(declared: Declared) {
  return (target: unknown, place?: unknown, descriptor?: PropertyDescriptor): unknown => {
    if (typeof place === 'object' && place !== null && 'kind' in place)
      return decorateStandard(declared, target, place as DecoratorContext)
    if (descriptor === undefined && place === undefined) return decorateClass(declared, target)
    return decorateLegacyMember(declared, target, { key: place as string | symbol, descriptor })
  }
}

function decorateStandard(declared: Declared, target: unknown, context: DecoratorContext): unknown {
  if (context.kind === 'class') return decorateClass(declared, target)
  const member = String(context.name)
  if (context.kind !== 'method' && context.kind !== 'setter') throw misuse(declared, withArticle(context.kind), member)
  if (context.static) throw misuse(declared, `a static ${context.kind}`, member)
  if (context.private) throw misuse(declared, `a private ${context.kind}`, member)
  // An object of its own for each class, where the compiler gives one.
  claim(declared, context.metadata, `the class of ${member}`)
  return triggering(declared, target as MethodEvent['body'], member) // `kind` says that it is a method
}

function decorateLegacyMember(
  declared: Declared,
  target: unknown,
  { key, descriptor }: { key: string | symbol; descriptor: PropertyDescriptor | undefined },
): PropertyDescriptor {
  const member = String(key)
  if (typeof target === 'function') throw misuse(declared, 'a static member', member)
  const place = descriptor?.set === undefined ? 'value' : 'set'
  const body: unknown = descriptor?.[place]
  if (descriptor === undefined || typeof body !== 'function') throw misuse(declared, 'a field or a getter', member)
  claim(declared, target as object, (target as object).constructor.name) // the prototype
  return { ...descriptor, [place]: triggering(declared, body as MethodEvent['body'], member) }
}

function decorateClass(declared: Declared, target: unknown): unknown {
  const { name, parameterNames, definition, isCallable } = declared
  if (typeof target !== 'function' || !(target.prototype instanceof Aggregate)) {
    const what = typeof target === 'function' ? target.name : String(target)
    throw new TypeError(`@event('${name}') on ${what}: only a class that extends Aggregate can have events`)
  }
  if (!isCallable) throw new TypeError(`@applies('${name}') cannot be on the class ${target.name}: use @event`)
  checkParameters(declared, target.length, `the constructor of ${target.name}`)
  return constructorEvent(target as unknown as AnyConstructor, { name, parameterNames, definition }) // it has a prototype
}

const claimed = new WeakMap<object, Set<string>>()

/** Remembers the names of a class's events while it is defined. @throws `TypeError` for one that it has already */
function claim({ name }: Declared, classIdentity: object | null | undefined, className: string): void {
  if (typeof classIdentity !== 'object' || classIdentity === null) return
  const names = claimed.get(classIdentity) ?? new Set()
  if (names.has(name)) throw alreadyDefined(className, name)
  claimed.set(classIdentity, names.add(name))
}

function triggering(declared: Declared, body: MethodEvent['body'], member: string): MethodEvent['body'] {
  const { name, parameterNames, definition, isCallable, ends = false } = declared
  if (isMarked(body)) throw new TypeError(`${member} has more than one @event decorator`)
  assertPlainFunction(body, `The body of @event('${name}'), ${member},`)
  checkParameters(declared, body.length, member)
  function trigger(this: object, ...args: unknown[]): unknown {
    const record = tryRecordOf(this)
    if (record === undefined)
      throw new TypeError(`${member} expects an aggregate as 'this': call it as aggregate.${member}(…)`)
    if (record.mode === 'applying') return Reflect.apply(body, this, args)
    if (record.mode === 'rebuilding') return undefined
    const { className, handlers } = eventsOf(Object.getPrototypeOf(this))
    if (!isCallable) {
      throw new ProgrammingError(
        `${className}.${member} only applies the event '${name}' and cannot be called: use this.trigger('${name}', …)`,
      )
    }
    const handler = handlers.get(name)
    if (handler === undefined) {
      throw new TypeError(
        `@event('${name}') must be the first decorator of ${className}.${member}: another one hides it`,
      )
    }
    const given = dataOfArguments({ label: `${className}.${member}`, parameterNames }, args)
    return triggerEvent(this, record, { handler, ...given })
  }
  Object.defineProperty(trigger, 'name', { value: body.name || member, configurable: true })
  Object.defineProperty(trigger, 'length', { value: body.length, configurable: true })
  markMethod(trigger, { name, definition, label: member, parameterNames, body, ends })
  return trigger
}

/** @param length - how many parameters come before those that have a default value */
function checkParameters({ name, parameterNames }: Declared, length: number, member: string): void {
  if (length <= (parameterNames.length || 1)) return
  throw new TypeError(
    `@event('${name}') names ${parameterNames.length} parameters, and ${member} has ${length}: name each of them, in order`,
  )
}

function checkParameterNames(name: string, parameterNames: readonly unknown[]): void {
  for (const [index, parameter] of parameterNames.entries()) {
    const reason =
      typeof parameter !== 'string' || parameter === ''
        ? 'a text that is not empty'
        : parameterNames.indexOf(parameter) !== index
          ? 'given once'
          : parameter !== 'timestamp' && reservedDataNames.includes(parameter)
            ? 'none of the names that belong to the event itself'
            : undefined
    if (reason === undefined) continue
    throw new TypeError(`@event('${name}') has a parameter name '${String(parameter)}': each must be ${reason}`)
  }
}

function withArticle(kind: string): string {
  return `${kind === 'accessor' ? 'an' : 'a'} ${kind}`
}

function misuse({ name, isCallable }: Declared, kind: string, member: string): TypeError {
  const decorator = isCallable ? 'event' : 'applies'
  return new TypeError(
    `@${decorator}('${name}') cannot be on ${kind} (${member}): decorate a public method, a setter or the class`,
  )
}

/** A class, as its decorator gets it. */
type AnyConstructor = abstract new (...args: never[]) => object

/**
 * Puts in the place of a class one that triggers an event when it is constructed.
 *
 * The replacement is a Proxy with nothing but a `construct` trap, so that the name, static members, `instanceof`,
 * `new.target` and subclassing are those of the class itself.
 *
 * @param aggregateClass - a subclass of `Aggregate`
 * @param declared - the event, with one name per parameter of the constructor
 */
function constructorEvent<C extends AnyConstructor>(aggregateClass: C, declared: Omit<DeclaredEvent, 'label'>): C {
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
  const events = eventsOf(newTarget.prototype as object)
  const event = creationEvent(events, { eventName: creation.name, originatorId, ...given })
  return constructBy({ newTarget, event, mode: 'applying' }, (construction) => {
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
