/** `@event`: makes a method, or the constructor of a class, trigger an event with its body as the change. */
import { Aggregate, type AggregateClass, isAggregate, tryRecordOf } from './aggregate.js'
import { eventsOf, type MethodEvent, markMethod } from './aggregate-events.js'
import { type AnyConstructor, constructorEvent } from './constructor-event.js'
import { reservedDataNames } from './event.js'
import { dataOfArguments } from './event-data.js'
import { checkEventName, type EventDefinition } from './event-definition.js'
import { triggerEvent } from './trigger.js'

type AnyMethod = (...args: never[]) => unknown

/** Whether the names fit the parameters: one each, or no names for no parameter or for one that is an object. */
export type NamesFit<Names extends readonly string[], Parameters extends readonly unknown[]> = Names extends readonly []
  ? Required<Parameters> extends readonly []
    ? true
    : Required<Parameters> extends readonly [infer Data]
      ? IsRecord<Data>
      : false
  : Required<Parameters>['length'] extends Names['length']
    ? true
    : false

type IsRecord<Data> = Data extends readonly unknown[] | AnyMethod | Date ? false : Data extends object ? true : false

/** Stands in the place of a decorator's argument where the decorated member cannot have the event. */
export type EventMisuse<Reason extends string> = { readonly [problem in `@event: ${Reason}`]: never }

/** What is required of a decorated method, with the reason where it fails. */
export type Fitting<Names extends readonly string[], Parameters extends readonly unknown[], Result, Accepted> =
  NamesFit<Names, Parameters> extends true
    ? Result extends PromiseLike<unknown>
      ? EventMisuse<'the body of an event cannot be asynchronous'>
      : Accepted
    : EventMisuse<'give one name per parameter; no names are needed for a single object'>

/** The context of a method that every instance has and subclasses can reach. */
export type PublicMethodContext<This, Parameters extends readonly unknown[], Result> = ClassMethodDecoratorContext<
  This,
  (this: This, ...args: Parameters) => Result
> & { readonly static: false; readonly private: false }

/** The decorator that `event` makes: for methods and classes, as a standard decorator or a legacy one. */
export interface EventDecorator<Names extends readonly string[]> {
  /** A method, by a standard decorator. */
  <This extends Aggregate<object>, Parameters extends readonly unknown[], Result>(
    method: (this: This, ...args: Parameters) => Result,
    context: Fitting<Names, Parameters, Result, PublicMethodContext<This, Parameters, Result>>,
  ): (this: This, ...args: Parameters) => Result
  /** A class, by a standard decorator. */
  <C extends AggregateClass>(
    aggregateClass: C,
    context: Fitting<Names, ConstructorParameters<C>, void, ClassDecoratorContext<C>>,
  ): C
  /** A method, by a legacy decorator (`experimentalDecorators`). */
  <Parameters extends readonly unknown[], Result>(
    prototype: Aggregate<object>,
    key: string,
    descriptor: TypedPropertyDescriptor<(...args: Parameters) => Result> & Fitting<Names, Parameters, Result, unknown>,
  ): TypedPropertyDescriptor<(...args: Parameters) => Result>
  /** A class, by a legacy decorator (`experimentalDecorators`). */
  <C extends AggregateClass>(aggregateClass: C & Fitting<Names, ConstructorParameters<C>, void, unknown>): C
}

/**
 * Makes a method of an aggregate trigger an event, and, on a class, its constructor.
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
 * @throws `TypeError`, when the class is defined, for unusable or repeated names and for anything but public instance
 *   methods and classes; names repeated within a class that is not decorated itself are found at its first use
 */
export function event<const Names extends readonly string[]>(
  event: string | EventDefinition,
  ...parameterNames: Names
): EventDecorator<Names> {
  const name = checkEventName(typeof event === 'object' && event !== null ? event.name : event)
  checkParameterNames(name, parameterNames)
  const decorate = (target: unknown, place?: unknown, descriptor?: PropertyDescriptor): unknown => {
    if (typeof place === 'object' && place !== null && 'kind' in place) {
      return decorateStandard({ name, parameterNames }, target, place as DecoratorContext)
    }
    if (descriptor === undefined && place === undefined) return decorateClass({ name, parameterNames }, target)
    return decorateLegacyMethod({ name, parameterNames }, target, { key: place as string | symbol, descriptor })
  }
  return decorate as EventDecorator<Names> // its overloads say which arguments come together
}

interface Declared {
  readonly name: string
  readonly parameterNames: readonly string[]
}

function decorateStandard(declared: Declared, target: unknown, context: DecoratorContext): unknown {
  if (context.kind === 'class') return decorateClass(declared, target)
  const member = String(context.name)
  if (context.kind !== 'method') throw misuse(declared, `a ${context.kind}`, member)
  if (context.static) throw misuse(declared, 'a static method', member)
  if (context.private) throw misuse(declared, 'a private method', member)
  return triggering(declared, target as MethodEvent['body'], member) // `kind` says that it is a method
}

function decorateLegacyMethod(
  declared: Declared,
  target: unknown,
  { key, descriptor }: { key: string | symbol; descriptor: PropertyDescriptor | undefined },
): PropertyDescriptor {
  const member = String(key)
  if (typeof target === 'function') throw misuse(declared, 'a static member', member)
  const body: unknown = descriptor?.value
  if (descriptor === undefined || typeof body !== 'function') throw misuse(declared, 'a field or an accessor', member)
  return { ...descriptor, value: triggering(declared, body as MethodEvent['body'], member) }
}

function decorateClass({ name, parameterNames }: Declared, target: unknown): unknown {
  if (typeof target !== 'function' || !(target.prototype instanceof Aggregate)) {
    const what = typeof target === 'function' ? target.name : String(target)
    throw new TypeError(`@event('${name}') on ${what}: only a class that extends Aggregate can have events`)
  }
  return constructorEvent(target as unknown as AnyConstructor, name, parameterNames) // it has a prototype
}

function triggering(
  { name, parameterNames }: Declared,
  body: MethodEvent['body'],
  member: string,
): MethodEvent['body'] {
  function trigger(this: object, ...args: unknown[]): unknown {
    const record = tryRecordOf(this)
    if (record === undefined)
      throw new TypeError(`${member} expects an aggregate as 'this': call it as aggregate.${member}(…)`)
    if (record.mode === 'applying') return Reflect.apply(body, this, args)
    if (record.mode === 'rebuilding') return undefined
    const { className, handlers } = eventsOf(Object.getPrototypeOf(this))
    const handler = handlers.get(name)
    if (handler === undefined) {
      throw new TypeError(
        `@event('${name}') must be the first decorator of ${className}.${member}: another one hides it`,
      )
    }
    const given = dataOfArguments({ label: `${className}.${member}`, parameterNames }, args)
    return triggerEvent(this, record, { handler, ...given }, isAggregate)
  }
  Object.defineProperty(trigger, 'name', { value: body.name || member, configurable: true })
  Object.defineProperty(trigger, 'length', { value: body.length, configurable: true })
  markMethod(trigger, { name, label: member, parameterNames, body })
  return trigger
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

function misuse({ name }: Declared, kind: string, member: string): TypeError {
  return new TypeError(`@event('${name}') cannot be on ${kind} (${member}): decorate a public method or the class`)
}
