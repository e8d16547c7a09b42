/** What identifies a request, as far as it can be trusted: it is stored with events, logged and sent on. */

/** A request as far as its ids go, in any framework. */
export interface IdentifiedRequest {
  /** What the framework has numbered it with. */
  readonly id?: unknown
  /** By name, in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** Visible ASCII: no spaces and line breaks, which would forge lines of a log. */
const idPattern = /^[\x21-\x7e]{1,128}$/

/** Version, trace id, parent id and flags; later versions may add fields after these. */
const traceparentPattern = /^(?!ff)[\da-f]{2}-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-[\da-f]{2}(?=$|-)/

/**
 * What identifies a request: as `correlationId` its header `x-request-id`, else the framework's own id; and its `traceparent`.
 *
 * Any client can send these headers. An id counts that has 1 to 128 visible ASCII characters; a traceparent of the form that
 * W3C gives it, of which the four fields of version 00 are kept. What has another form is left out.
 *
 * @see https://www.w3.org/TR/trace-context/#traceparent-header
 *
 * @example
 * app.use(transactions(datastore, { metadata: (request) => ({ ...requestMetadata(request), user: request.user.id }) }))
 */
export function requestMetadata({ id, headers }: IdentifiedRequest): Readonly<Record<string, unknown>> {
  const correlationId = idOf(headers['x-request-id']) ?? idOf(id)
  const traceparent = traceparentOf(headers['traceparent'])
  return {
    ...(correlationId === undefined ? {} : { correlationId }),
    ...(traceparent === undefined ? {} : { traceparent }),
  }
}

function idOf(given: unknown): string | number | undefined {
  if (typeof given === 'number' && Number.isFinite(given)) return given
  return typeof given === 'string' && idPattern.test(given) ? given : undefined
}

function traceparentOf(header: unknown): string | undefined {
  if (typeof header !== 'string') return undefined
  const [fields] = traceparentPattern.exec(header) ?? []
  // Version 00 has no more than these.
  return header.startsWith('00') && fields !== header ? undefined : fields
}
