/** Event definitions: events that have a declaration of their own, apart from what triggers and applies them. */
import { anything, callable, checkOptions, flag, type OptionTypesOf } from '../checked-options.js'
import { EventDataError } from '../errors.js'
import { type EventData, reservedDataNames } from './event.js'
import { copiedUnchecked, isPlainObject } from './kept-values.js'
import { checkFields, type PersonalFields, type WithErased } from './personal-data.js'
import type { TagsOf } from './tags.js'

/** What is known of a declared event without its types. */
export interface EventDeclaration {
  /** The event's name, the part of its topic after the dot. */
  readonly name: string
  /** Undefined where any data are good. */
  readonly schema: StandardSchema<unknown, object> | undefined
  /** Whether stored data are checked, too, when they are applied. */
  readonly validatesOnRead: boolean
  /** Which fields are about a person, and about whom. */
  readonly personal: PersonalFields | undefined
  /** Which tags it has, by its data; undefined for none. */
  readonly tags: TagsOf | undefined
  /** Whether it ends its originator. */
  readonly ends: boolean
}

/** An event as deciders decide it, and as scenarios expect it. */
export interface NamedEvent<Name extends string, Data extends object> {
  /** The event's name. */
  readonly type: Name
  /** Its content. */
  readonly data: Data
}

/** The argument of a definition; it may be left out where no field has to be there. */
export type DataArgument<Input extends object> = Partial<Input> extends Input ? [data?: Input] : [data: Input]

/**
 * A declared event: for `@event(TrickAdded)`, `trigger(TrickAdded, data)`, the `events` of deciders, and `readEvent`.
 *
 * Called with data it gives the event for a decider or a scenario: `TrickAdded({ trick: 'sit' })`. The data are checked when
 * the event is triggered or decided.
 *
 * @typeParam Name - the event's name
 * @typeParam Input - what it is triggered with
 * @typeParam Data - what it is applied with, and read as
 */
export interface EventDefinition<
  Name extends string = string,
  Input extends object = EventData,
  Data extends object = Input,
> extends EventDeclaration {
  (...data: DataArgument<Input>): NamedEvent<Name, Input>
  readonly name: Name
  /** Types only: no such member exists. */
  readonly dataType?: Data
}

/** What can be decided about an event beside its name and its data. */
export interface EventDefinitionOptions<Personal, Data extends object = never> {
  /**
   * Whether stored data are checked, too, when they are applied; default false. The schema then has to accept what it has
   * given itself. Events with erased data are not checked.
   */
  readonly validatesOnRead?: boolean
  /**
   * The fields that are about a person: `true` for the originator itself, or the name of the field that has the person's id, or
   * a list of ids. They are stored encrypted, until `application.forget(subject)`.
   */
  readonly personal?: Personal
  /**
   * Which tags the event has, by its data: what it is about beyond its stream, for decisions by tags (`application.decide`, `unless`).
   * A pure function, called when the event is triggered. Personal values have to be hidden by `secret`.
   */
  readonly tags?: TagsOf<Data>
  /**
   * Whether the event ends its aggregate, default false: `get` says so from then on (`AggregateEndedError`), `aggregates()` passes it
   * over, and no event follows.
   */
  readonly ends?: boolean
}

const optionTypes: OptionTypesOf<EventDefinitionOptions<unknown>> = {
  validatesOnRead: flag,
  personal: anything,
  tags: callable,
  ends: flag,
}

/**
 * Declares an event.
 *
 * @param name - not empty and without a dot
 * @param schema - for its data, of any library with the Standard Schema interface, such as zod, valibot or arktype; it has to
 *   answer at once. What it gives is what is stored. `typed<Data>()` gives a type only.
 * @throws `TypeError` for any other name, for what is no such schema, and for personal fields that cannot be
 *
 * @example
 * const TrickAdded = defineEvent('TrickAdded', z.object({ trick: z.string().min(1) }))
 */
export function defineEvent<
  const Name extends string,
  Input extends object,
  Output extends object,
  const Personal extends PersonalFields<Output> = object,
>(
  name: Name,
  schema: StandardSchema<Input, Output>,
  options?: EventDefinitionOptions<Personal, Output>,
): EventDefinition<Name, Input, WithErased<Output, Personal>>
/** Declares an event with any data. */
export function defineEvent<const Name extends string>(name: Name): EventDefinition<Name>
export function defineEvent(
  name: string,
  schema?: StandardSchema<unknown, object>,
  options: EventDefinitionOptions<PersonalFields> = {},
): EventDefinition {
  checkOptions(`define the event ${name}`, options, optionTypes)
  const { validatesOnRead = false, personal, tags, ends = false } = options
  const define = (data: EventData = {}): NamedEvent<string, EventData> => {
    const event = { type: name, data }
    definitions.set(event, declaration)
    return event
  }
  // The function's own name is read-only, and would say 'define'.
  Object.defineProperty(define, 'name', { value: checkEventName(name), enumerable: true })
  if (schema !== undefined && !isSchema(schema)) {
    throw new TypeError(
      `The schema of '${name}' has no Standard Schema interface: give one of zod, valibot, arktype or another library that ` +
        'has it, or typed<Data>()',
    )
  }
  if (personal !== undefined) checkFields(personal, `personal of ${name}`)
  if (tags !== undefined) assertPlainFunction(tags, `tags of ${name}`)
  const declaration = Object.freeze(Object.assign(define, { schema, validatesOnRead, personal, tags, ends }))
  return declaration
}

/** The definitions that events were made by. */
const definitions = new WeakMap<object, EventDeclaration>()

/** The definition that was called for an event; undefined for one that was written down by hand. */
export function definitionOfEvent(event: object): EventDeclaration | undefined {
  return definitions.get(event)
}

// Those of arktype are functions.
function isSchema(schema: unknown): boolean {
  const standard = (Object(schema) as Partial<StandardSchema>)['~standard'] // every object may have it
  return typeof standard?.validate === 'function'
}

/** Whether a value is an event definition. */
export function isEventDefinition(value: unknown): value is EventDeclaration {
  return typeof value === 'function' && 'schema' in value && 'validatesOnRead' in value
}

/**
 * Lets the schema of a definition judge data.
 *
 * @param attempted - what is to be done, as the message of a failure says it, such as `trigger Dog.TrickAdded`
 * @returns what the schema gives, which may be shared with it; the data themselves where there is no schema
 * @throws `EventDataError` for data that the schema refuses
 * @throws `TypeError` for a schema that does not answer at once or gives something else than a plain object
 */
export function validData(definition: EventDeclaration | undefined, data: EventData, attempted: string): EventData {
  const schema = definition?.schema
  if (schema === undefined) return data
  // Some schemas change in place what they are given.
  const result = schema['~standard'].validate(copiedUnchecked(data))
  if (result instanceof Promise) {
    // What it will say is of no more use.
    result.catch(() => undefined)
    throw new TypeError(
      `Cannot ${attempted}: its schema is asynchronous. Look things up before, and use one that is not.`,
    )
  }
  if (result.issues !== undefined) {
    const reasons = result.issues.map(textOf).join('; ')
    throw new EventDataError(`Cannot ${attempted}: ${reasons}`, { issues: result.issues })
  }
  const { value } = result
  const reserved = isPlainObject(value) ? reservedDataNames.find((name) => name in value) : undefined
  if (!isPlainObject(value) || reserved !== undefined) {
    const reason =
      reserved === undefined ? 'something else than a plain object' : `'${reserved}', which belongs to the event itself`
    throw new TypeError(`Cannot ${attempted}: its schema gives ${reason}`)
  }
  return value
}

/**
 * Gives back the name of an event when it can be part of a topic.
 *
 * @throws `TypeError` when it is not a text, empty, or has a dot or white space in it
 */
export function checkEventName(name: unknown): string {
  if (typeof name !== 'string') throw new TypeError(`An event needs a name or a definition, not ${String(name)}`)
  if (!/^[^\s.]+$/.test(name)) {
    throw new TypeError(`'${name}' cannot be the name of an event: it must not be empty nor contain dots or spaces`)
  }
  return name
}

function textOf({ path, message }: SchemaIssue): string {
  const place = (path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.')
  return place === '' ? message : `${place}: ${message}`
}

/** What a schema says of a value. @see https://standardschema.dev */
export type SchemaResult<Output> = SchemaSuccess<Output> | SchemaFailure

/** A value that is good. */
interface SchemaSuccess<Output> {
  /** The value in its final form. */
  readonly value: Output
  /** There are none. */
  readonly issues?: undefined
}

/** A value that is refused. */
interface SchemaFailure {
  /** Why. */
  readonly issues: readonly SchemaIssue[]
}

/** A step on the way to a value. */
interface SchemaPathSegment {
  /** Its name, or position. */
  readonly key: PropertyKey
}

/** One thing that is wrong with a value. */
export interface SchemaIssue {
  /** What is wrong. */
  readonly message: string
  /** Where: the names and positions on the way to it. */
  readonly path?: ReadonlyArray<PropertyKey | SchemaPathSegment> | undefined
}

/** What a schema takes and gives. */
export interface SchemaTypes<Input, Output> {
  /** What it takes. */
  readonly input: Input
  /** What it gives. */
  readonly output: Output
}

/** A schema, of any library. @see https://standardschema.dev */
export interface StandardSchema<Input = unknown, Output = Input> {
  /** What all libraries have in common. */
  readonly '~standard': {
    /** Of the interface. */
    readonly version: 1
    /** The library. */
    readonly vendor: string
    /** Judges a value, and gives it in its final form. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    /** Types only. */
    readonly types?: SchemaTypes<Input, Output> | undefined
  }
}

/**
 * A schema that accepts everything: it gives an event's data a type without checking them.
 *
 * @example
 * const TrickAdded = defineEvent('TrickAdded', typed<{ trick: string }>())
 */
export function typed<Data extends object>(): StandardSchema<Data> {
  // Whoever gives the type answers for the values.
  return {
    '~standard': { version: 1, vendor: 'eventsourcing-prisma', validate: (value) => ({ value: value as Data }) },
  }
}

const kinds: Readonly<Record<string, string>> = {
  AsyncFunction: 'asynchronous',
  GeneratorFunction: 'a generator',
  AsyncGeneratorFunction: 'an asynchronous generator',
}

/**
 * Checks a function when it is declared. One that was compiled to an older form is found when it gives a promise.
 *
 * @throws `TypeError` for what is no function, and for one that does its work later
 */
export function assertPlainFunction(value: unknown, label: string): asserts value is (...args: unknown[]) => unknown {
  if (typeof value !== 'function') throw new TypeError(`${label} must be a function`)
  const kind = kinds[Object.prototype.toString.call(value).slice('[object '.length, -1)]
  if (kind !== undefined)
    throw new TypeError(`${label} is ${kind}: look things up before, and decide and change at once`)
}
