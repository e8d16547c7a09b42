/** The part of the Standard Schema interface that event definitions use: zod, valibot, arktype and others have it. */

/** What a schema says of a value. @see https://standardschema.dev */
export type SchemaResult<Output> = SchemaSuccess<Output> | SchemaFailure

/** A value that is good. */
export interface SchemaSuccess<Output> {
  /** The value in its final form. */
  readonly value: Output
  /** There are none. */
  readonly issues?: undefined
}

/** A value that is refused. */
export interface SchemaFailure {
  /** Why. */
  readonly issues: readonly SchemaIssue[]
}

/** A step on the way to a value. */
export interface SchemaPathSegment {
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
