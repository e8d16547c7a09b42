/** Shows how far a rebuild has come: a bar on a terminal, elsewhere a line each second. */
import { counted, jsonValue, type Output } from './output.js'
import type { RebuildProgress } from './run-projections.js'

const everyMs = 1_000
const drawnEveryMs = 100
const width = 30

/** One rebuild. */
export class RebuildView {
  readonly #name: string
  readonly #output: Output
  readonly #isJson: boolean
  #shownAt = Number.NEGATIVE_INFINITY

  constructor(name: string, output: Output, isJson: boolean) {
    this.#name = name
    this.#output = output
    this.#isJson = isJson
  }

  /** Takes what the runner tells after each batch. */
  progress(progress: RebuildProgress): void {
    const { redraw, print } = this.#output
    const isDrawn = redraw !== undefined && !this.#isJson
    const now = performance.now()
    if (now - this.#shownAt < (isDrawn ? drawnEveryMs : everyMs)) return
    this.#shownAt = now
    if (this.#isJson) print(JSON.stringify({ event: 'progress', ...progress }, jsonValue))
    else if (redraw !== undefined) redraw(`${this.#name} ${bar(progress)} ${textOf(progress)}`)
    else print(`${this.#name}: ${textOf(progress)}`)
  }

  /** Tells what came of it. */
  done(result: { readonly position: bigint; readonly events: number; readonly durationMs: number }): void {
    const { redraw, print } = this.#output
    if (this.#isJson) return print(JSON.stringify({ event: 'rebuilt', name: this.#name, ...result }, jsonValue))
    redraw?.('')
    const { position, events, durationMs } = result
    print(
      `${this.#name} is built anew up to position ${position}: ${counted(events, 'event')} in ${seconds(durationMs)}`,
    )
  }
}

function bar(progress: RebuildProgress): string {
  const done = Math.round(shareOf(progress) * width)
  return `[${'#'.repeat(done)}${'-'.repeat(width - done)}]`
}

function textOf(progress: RebuildProgress): string {
  const { position, target, events, rate, restMs } = progress
  const rest = restMs === undefined ? '' : `, about ${seconds(restMs)} left`
  return `${Math.floor(shareOf(progress) * 100)} %, position ${position} of ${target}, ${counted(events, 'event')}, ${Math.round(rate)} a second${rest}`
}

function shareOf({ position, target }: RebuildProgress): number {
  return target === 0n ? 1 : Math.min(1, Number(position) / Number(target))
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
