/** What the codes of a database mean for whoever has to deal with the error: tables, one for each database. */
import {
  DataError,
  type EventSourcingError,
  IntegrityError,
  InternalError,
  NotSupportedError,
  OperationalError,
  ProgrammingError,
} from '../../errors.js'

/** Which error it becomes; `passing` and `lasting` are operational, the first one `retryable`. */
export type ErrorKind = 'passing' | 'lasting' | 'integrity' | 'data' | 'programming' | 'unsupported' | 'internal'

/** Codes that mean the same. */
export interface ErrorRule {
  /** Whole codes, or the first two characters of a class of codes; a whole code counts before its class. */
  readonly codes: readonly string[]
  readonly kind: ErrorKind
  /** As docs/errors.md says it. */
  readonly meaning: string
}

/** Makes the errors that callers see. */
export const errorsByKind: Readonly<Record<ErrorKind, (message: string, cause: unknown) => EventSourcingError>> = {
  passing: (message, cause) => new OperationalError(message, { cause, retryable: true }),
  lasting: (message, cause) => new OperationalError(message, { cause }),
  integrity: (message, cause) => new IntegrityError(message, { cause }),
  data: (message, cause) => new DataError(message, { cause }),
  programming: (message, cause) => new ProgrammingError(message, { cause }),
  unsupported: (message, cause) => new NotSupportedError(message, { cause }),
  internal: (message, cause) => new InternalError(message, { cause }),
}

/** Looks codes up in a table. */
export class ErrorTable {
  readonly #kinds = new Map<string, ErrorKind>()

  constructor(rules: readonly ErrorRule[]) {
    for (const { codes, kind } of rules) for (const code of codes) this.#kinds.set(code, kind)
  }

  /** What a code means, undefined for one that is in no rule. */
  kindOf(code: string): ErrorKind | undefined {
    return this.#kinds.get(code) ?? this.#kinds.get(code.slice(0, 2))
  }

  /** Makes the error, undefined where no rule knows the code. */
  translate(code: string | undefined, message: string, cause: unknown): EventSourcingError | undefined {
    const kind = code === undefined ? undefined : this.kindOf(code)
    return kind === undefined ? undefined : errorsByKind[kind](message, cause)
  }
}
