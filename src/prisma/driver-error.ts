/** Reads what a driver, its adapter or Prisma threw, by shape: the classes differ between copies and versions. */

/** What is known of a database error. */
export interface DriverErrorFacts {
  /** Prisma's name for the kind of error, `unknown` for an error that no adapter has looked at. */
  readonly kind: string
  /** The database's or driver's own code, as text. */
  readonly code: string | undefined
  /** The database's own words. */
  readonly message: string
}

/** Finds the database error in anything that was thrown; undefined when there is none in it. */
export function readDriverError(error: unknown): DriverErrorFacts | undefined {
  if (!isRecord(error)) return undefined
  const wrapped = isRecord(error['meta']) ? error['meta']['driverAdapterError'] : undefined
  const cause = isRecord(wrapped)
    ? wrapped['cause']
    : error['name'] === 'DriverAdapterError'
      ? error['cause']
      : undefined
  if (!isRecord(cause) || typeof cause['kind'] !== 'string') return undefined
  const code = firstText(cause['originalCode'], cause['code'], cause['extendedCode'])
  const message = firstText(cause['originalMessage'], cause['message'], cause['cause']) ?? cause['kind']
  return { kind: cause['kind'], code, message }
}

function firstText(...values: readonly unknown[]): string | undefined {
  const found = values.find((value) => typeof value === 'string' || typeof value === 'number')
  return found === undefined ? undefined : `${found}`
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
