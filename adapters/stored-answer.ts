/** What is kept of an answer under an idempotency key, and how it is sent again to a request that may accept less than the first one. */
import { promisify } from 'node:util'
import { brotliDecompress, gunzip, inflate } from 'node:zlib'
import { ProgrammingError, type RecordedResponse } from '../src/index.js'

/** What describes the body, and what says how it may be used. */
const keptHeaders: readonly string[] = [
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-location',
  'content-security-policy',
  'content-security-policy-report-only',
  'content-type',
  'cross-origin-embedder-policy',
  'cross-origin-opener-policy',
  'cross-origin-resource-policy',
  'etag',
  'expires',
  'last-modified',
  'link',
  'location',
  'permissions-policy',
  'pragma',
  'preference-applied',
  'referrer-policy',
  'retry-after',
  'vary',
  'x-content-type-options',
  'x-frame-options',
]

/**
 * What belongs to one connection, or to one client. @see https://www.rfc-editor.org/rfc/rfc9110#name-connection
 */
const neverKept: readonly string[] = [
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-connection',
  'set-cookie',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/**
 * The headers that are kept, in lower case.
 *
 * @param own - what an app adds
 * @throws `ProgrammingError` for one that is never to be sent again
 */
export function headersToKeep(own: readonly string[] = []): ReadonlySet<string> {
  const names = own.map((name) => name.toLowerCase())
  const refused = names.find((name) => neverKept.includes(name))
  if (refused === undefined) return new Set([...keptHeaders, ...names])
  throw new ProgrammingError(
    `Could not keep the header ${refused} under idempotency keys: it belongs to one connection, or to one client. Take it out of \`idempotency.headers\`.`,
  )
}

const decoders: Readonly<Record<string, (body: Uint8Array) => Promise<Uint8Array>>> = {
  br: promisify(brotliDecompress),
  deflate: promisify(inflate),
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
}

/**
 * A stored answer as a request accepts it: one that was compressed for the first client is not for a client that does not say
 * that it can read it.
 *
 * @param accepted - the header Accept-Encoding of the request
 */
export async function decodedFor(accepted: string, response: RecordedResponse): Promise<RecordedResponse> {
  const { 'content-encoding': encoding, ...headers } = response.headers
  const codings = String(encoding ?? '')
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'identity')
  if (codings.every((coding) => accepts(accepted, coding))) return response
  let { body } = response
  for (const coding of codings.toReversed()) {
    const decode = decoders[coding]
    // Nobody can read it but a client that knows it.
    if (decode === undefined) return response
    body = await decode(body)
  }
  const { etag } = headers
  const isStrong = typeof etag === 'string' && !etag.startsWith('W/')
  return { ...response, headers: isStrong ? { ...headers, etag: `W/${etag}` } : headers, body }
}

/** @see https://www.rfc-editor.org/rfc/rfc9110#name-accept-encoding */
function accepts(header: string, coding: string): boolean {
  const weights = new Map<string, number>()
  for (const part of header.toLowerCase().split(',')) {
    const [name = '', ...parameters] = part.split(';').map((text) => text.trim())
    const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2)
    weights.set(name.replace(/^x-/, ''), weight === undefined ? 1 : Number(weight))
  }
  return (weights.get(coding.replace(/^x-/, '')) ?? weights.get('*') ?? 0) > 0
}
