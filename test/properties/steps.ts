/** What a transaction may do: steps, and parts of steps, that chance puts together. */
import fc from 'fast-check'

/** The streams of a lane. All lanes write to `shared`; `two` is in a table of its own. */
export type StreamName = 'one' | 'two' | 'shared'

/** What of a stream is read. */
export interface Range {
  readonly gt?: number
  readonly lte?: number
  readonly desc?: boolean
  readonly limit?: number
}

/** Steps that hold no others. */
export type SimpleStep =
  /** Saves events: after the last one, on a place that is taken, or with a gap before. */
  | { do: 'save'; streams: StreamName[]; count: number; at: 'end' | 'taken' | 'gap' }
  /** Inserts events at once, with or without the tracking of a notification. */
  | { do: 'insert'; stream: StreamName; count: number; at: 'end' | 'taken'; tracking: 'none' | 'next' | 'again' }
  | { do: 'track'; tracking: 'next' | 'again' }
  | { do: 'flush' }
  /** A row by the user's model: a new one, or one that violates its unique key. */
  | { do: 'row' }
  | { do: 'sameRow' }
  | { do: 'readStream'; stream: StreamName; range: Range }
  | { do: 'readLog'; of: StreamName }
  | { do: 'readRows' }
  | { do: 'readTracking' }
  | { do: 'hooks' }
  | { do: 'autoflush'; on: boolean }
  | { do: 'rollbackOnly' }

/** One thing that is done in a transaction. */
export type Step =
  | SimpleStep
  | { do: 'withoutAutoflush'; steps: Step[] }
  /** A transaction that joins this one. */
  | { do: 'joined'; steps: Step[]; throws: boolean; caught: boolean }
  | { do: 'nested'; part: Part }
  /** Nested parts that are started together. */
  | { do: 'sideBySide'; parts: Part[] }

/** A transaction, or a nested part of one. */
export interface Part {
  readonly steps: readonly Step[]
  /** Whether it throws at its end. */
  readonly throws: boolean
  /** Whether the code around it goes on when it fails. */
  readonly caught: boolean
  readonly autoflush?: boolean
  /** A nested part is begun by the datastore, or by Prisma's `$transaction`. */
  readonly by: 'datastore' | 'client'
}

const streamName = fc.constantFrom<StreamName[]>('one', 'two', 'shared')
const tracking = fc.constantFrom<Array<'next' | 'again'>>('next', 'next', 'again')
const often = <T>(value: T, other: T): fc.Arbitrary<T> => fc.constantFrom(value, value, value, other)

const range: fc.Arbitrary<Range> = fc.record(
  { gt: fc.nat(3), lte: fc.nat(4), desc: fc.boolean(), limit: fc.integer({ min: 1, max: 3 }) },
  { requiredKeys: [] },
)

const save = fc.record({
  do: fc.constant('save' as const),
  streams: fc.uniqueArray(streamName, { minLength: 1, maxLength: 2 }),
  count: fc.integer({ min: 1, max: 2 }),
  at: fc.constantFrom<Array<'end' | 'taken' | 'gap'>>('end', 'end', 'end', 'end', 'end', 'taken', 'gap'),
})

const insert = fc.record({
  do: fc.constant('insert' as const),
  stream: streamName,
  count: fc.nat(2),
  at: often<'end' | 'taken'>('end', 'taken'),
  tracking: fc.constantFrom<Array<'none' | 'next' | 'again'>>('none', 'next', 'again'),
})

const simpleStep: fc.Arbitrary<SimpleStep> = fc.oneof(
  { weight: 8, arbitrary: save },
  { weight: 3, arbitrary: insert },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('track' as const), tracking }) },
  { weight: 2, arbitrary: fc.constant({ do: 'flush' as const }) },
  { weight: 3, arbitrary: fc.constant({ do: 'row' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'sameRow' as const }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('readStream' as const), stream: streamName, range }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('readLog' as const), of: streamName }) },
  { weight: 1, arbitrary: fc.constant({ do: 'readRows' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'readTracking' as const }) },
  { weight: 3, arbitrary: fc.constant({ do: 'hooks' as const }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('autoflush' as const), on: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ do: 'rollbackOnly' as const }) },
)

const depth = fc.createDepthIdentifier()

const { part } = fc.letrec<{ step: Step; steps: Step[]; part: Part }>((tie) => ({
  step: fc.oneof(
    { maxDepth: 3, depthIdentifier: depth, withCrossShrink: true },
    { weight: 20, arbitrary: simpleStep },
    { weight: 4, arbitrary: fc.record({ do: fc.constant('nested' as const), part: tie('part') }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('withoutAutoflush' as const), steps: tie('steps') }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('joined' as const),
        steps: tie('steps'),
        throws: fc.boolean(),
        caught: fc.boolean(),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('sideBySide' as const),
        parts: fc.array(tie('part'), { minLength: 2, maxLength: 3, depthIdentifier: depth }),
      }),
    },
  ),
  steps: fc.array(tie('step'), { maxLength: 5, depthIdentifier: depth }),
  part: fc.record(
    {
      steps: tie('steps'),
      throws: often(false, true),
      caught: often(true, false),
      by: often<'datastore' | 'client'>('datastore', 'client'),
      autoflush: fc.boolean(),
    },
    { requiredKeys: ['steps', 'throws', 'caught', 'by'] },
  ),
}))

/** Transactions: those of one lane come one after the other, the lanes are side by side. */
export const lanes: fc.Arbitrary<Part[][]> = fc.oneof(
  { weight: 3, arbitrary: fc.tuple(fc.array(part, { minLength: 1, maxLength: 4 })) },
  {
    weight: 2,
    arbitrary: fc.array(fc.array(part, { minLength: 1, maxLength: 2 }), { minLength: 2, maxLength: 3 }),
  },
)
