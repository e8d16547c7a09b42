/** What is piped into a response, so that it can be cut off when the response is dropped. */
import type { ServerResponse } from 'node:http'

interface Source {
  unpipe(destination: unknown): unknown
}

const sourcesKey = Symbol('sources')

/** Notes from now on what is piped into the response; to be called once. */
export function watchSources(response: ServerResponse): void {
  response.on('pipe', addSource)
}

/** Cuts off what was piped into the response so far. */
export function cutSources(response: ServerResponse): void {
  const sources = sourcesOf(response)
  if (sources.length === 0) return
  Reflect.set(response, sourcesKey, [])
  for (const source of sources) source.unpipe(response)
}

function addSource(this: ServerResponse, source: Source): void {
  Reflect.set(this, sourcesKey, [...sourcesOf(this), source])
}

function sourcesOf(response: ServerResponse): readonly Source[] {
  // Nobody else has the key.
  return (Reflect.get(response, sourcesKey) as readonly Source[] | undefined) ?? []
}
