/** What the compiler asks of a decorated member: that names, parameters and the event's data fit each other. */
import type { Aggregate, AggregateClass, EventsOf } from './aggregate.js'

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

/** Whether the parameters take what the event's data are read as; an event without a declared type fits any. */
export type DataFit<
  Data extends object,
  Names extends readonly string[],
  Parameters extends readonly unknown[],
> = string extends keyof Data
  ? true
  : Names extends readonly []
    ? [Data] extends [Parameters extends readonly [] ? object : Parameters[0]]
      ? true
      : false
    : false extends NamedFits<Data, Names, Required<Parameters>>[number]
      ? false
      : true

type NamedFits<Data extends object, Names extends readonly string[], Parameters extends readonly unknown[]> = {
  readonly [Index in keyof Names]: Names[Index] extends 'timestamp'
    ? true
    : Names[Index] extends keyof Data
      ? Index extends keyof Parameters
        ? [Exclude<Data[Names[Index]], undefined>] extends [Parameters[Index]]
          ? true
          : false
        : false
      : false
}

/**
 * Whether a class that says by `extends Aggregate<Events>` what its events are says this one as it is decorated; a class that does not
 * say it, and an event with a definition, fit.
 */
export type DeclaredFit<
  Events,
  Name extends string,
  Names extends readonly string[],
  Parameters extends readonly unknown[],
> = string extends keyof Events | Name
  ? true
  : [keyof Events] extends [never]
    ? true
    : Name extends keyof Events
      ? Names extends readonly []
        ? [Parameters extends readonly [] ? object : Parameters[0], Events[Name]] extends [
            Events[Name],
            Parameters extends readonly [] ? object : Parameters[0],
          ]
          ? true
          : false
        : [RequiredKeys<Events[Name]>] extends [Names[number]]
          ? false extends DeclaredFits<Events[Name], Names, Parameters>[number]
            ? false
            : true
          : false
      : false

type RequiredKeys<Data> = { [Key in keyof Data]-?: object extends Pick<Data, Key> ? never : Key }[keyof Data]

type DeclaredFits<Data, Names extends readonly string[], Parameters extends readonly unknown[]> = {
  readonly [Index in keyof Names]: Names[Index] extends 'timestamp'
    ? true
    : Names[Index] extends keyof Data
      ? Index extends keyof Parameters
        ? [Parameters[Index], Exclude<Data[Names[Index]], undefined>] extends [Data[Names[Index]], Parameters[Index]]
          ? true
          : false
        : false
      : false
}

/** Stands in the place of a decorator's argument where the decorated member cannot have the event. */
export type EventMisuse<Reason extends string> = { readonly [problem in `@event: ${Reason}`]: never }

/** A decorated member, as far as the compiler judges it. */
export interface DecoratedMember {
  /** What the class says of its events. */
  readonly events: unknown
  /** The event's name; any string where it has a definition. */
  readonly name: string
  readonly data: object
  readonly names: readonly string[]
  readonly parameters: readonly unknown[]
  readonly result: unknown
}

/** What is required of a decorated member, with the reason where it fails. */
export type Fitting<Member extends DecoratedMember, Accepted> =
  NamesFit<Member['names'], Member['parameters']> extends true
    ? Member['result'] extends PromiseLike<unknown>
      ? EventMisuse<'the body of an event cannot be asynchronous'>
      : DataFit<Member['data'], Member['names'], Member['parameters']> extends true
        ? DeclaredFit<Member['events'], Member['name'], Member['names'], Member['parameters']> extends true
          ? Accepted
          : EventMisuse<'the class says by extends Aggregate<…> that it has no such event, or one with other data'>
        : EventMisuse<"the parameters must take the data of the event's definition; personal data may be Erased">
    : EventMisuse<'give one name per parameter; no names are needed for a single object'>

/** The context of a method that every instance has and subclasses can reach. */
export type PublicMethodContext<This, Parameters extends readonly unknown[], Result> = ClassMethodDecoratorContext<
  This,
  (this: This, ...args: Parameters) => Result
> & { readonly static: false; readonly private: false }

/** The context of a setter that every instance has and subclasses can reach. */
export type PublicSetterContext<This, Value> = ClassSetterDecoratorContext<This, Value> & {
  readonly static: false
  readonly private: false
}

/**
 * The decorator of one event, as a standard decorator or a legacy one.
 *
 * @typeParam Names - the names of the parameters
 * @typeParam Data - what the event's data are read as
 * @typeParam Name - its name, where it has no definition
 */
export interface EventDecorator<Names extends readonly string[], Data extends object, Name extends string = string>
  extends MemberDecorator<Names, Data, Name> {
  /** A class, by a standard decorator. */
  <C extends AggregateClass>(
    aggregateClass: C,
    context: Fitting<
      {
        events: EventsOf<InstanceType<C>>
        name: Name
        data: Data
        names: Names
        parameters: ConstructorParameters<C>
        result: void
      },
      ClassDecoratorContext<C>
    >,
  ): C
  /** A class, by a legacy decorator (`experimentalDecorators`). */
  <C extends AggregateClass>(
    aggregateClass: C &
      Fitting<
        {
          events: EventsOf<InstanceType<C>>
          name: Name
          data: Data
          names: Names
          parameters: ConstructorParameters<C>
          result: void
        },
        unknown
      >,
  ): C
}

/** The decorator of one event for methods and setters, as a standard decorator or a legacy one. */
export interface MemberDecorator<Names extends readonly string[], Data extends object, Name extends string = string> {
  /** A method, by a standard decorator. */
  <This extends Aggregate<object>, Parameters extends readonly unknown[], Result>(
    method: (this: This, ...args: Parameters) => Result,
    context: Fitting<
      { events: EventsOf<This>; name: Name; data: Data; names: Names; parameters: Parameters; result: Result },
      PublicMethodContext<This, Parameters, Result>
    >,
  ): (this: This, ...args: Parameters) => Result
  /** A setter, by a standard decorator. */
  <This extends Aggregate<object>, Value>(
    setter: (this: This, value: Value) => void,
    context: Fitting<
      { events: EventsOf<This>; name: Name; data: Data; names: Names; parameters: [Value]; result: void },
      PublicSetterContext<This, Value>
    >,
  ): (this: This, value: Value) => void
  /** A method, by a legacy decorator (`experimentalDecorators`). */
  <This extends Aggregate<object>, Parameters extends readonly unknown[], Result>(
    prototype: This,
    key: string,
    descriptor: TypedPropertyDescriptor<(...args: Parameters) => Result> &
      Fitting<
        { events: EventsOf<This>; name: Name; data: Data; names: Names; parameters: Parameters; result: Result },
        unknown
      >,
  ): TypedPropertyDescriptor<(...args: Parameters) => Result>
  /** A setter, by a legacy decorator (`experimentalDecorators`). */
  <This extends Aggregate<object>, Value>(
    prototype: This,
    key: string,
    descriptor: TypedPropertyDescriptor<Value> &
      (Value extends AnyMethod
        ? EventMisuse<'the method does not fit the event'>
        : Fitting<
            { events: EventsOf<This>; name: Name; data: Data; names: Names; parameters: [Value]; result: void },
            unknown
          >),
  ): TypedPropertyDescriptor<Value>
}
