/** What a rebuild shows of its progress. */
import { describe, expect, it } from 'vitest'
import { RebuildView } from '../../src/cli/run-projections.js'

describe('the progress of a rebuild', () => {
  const halfWay = { position: 50n, target: 100n, events: 40, rate: 80.4, restMs: 500 }
  const [printed, drawn]: [string[], string[]] = [[], []]
  const output = { print: (text: string) => void printed.push(text), complain: () => undefined }

  it('is a bar on a terminal, and a line elsewhere', () => {
    new RebuildView('owners', { ...output, redraw: (text) => void drawn.push(text) }, false).progress(halfWay)
    const view = new RebuildView('owners', output, false)
    view.progress(halfWay)
    // Once a second is enough.
    view.progress(halfWay)
    view.done({ position: 100n, events: 90, durationMs: 1_260 })
    const text = '50 %, position 50 of 100, 40 events, 80 a second, about 0.5 s left'
    expect(drawn).toEqual([`owners [${'#'.repeat(15)}${'-'.repeat(15)}] ${text}`])
    expect(printed).toEqual([`owners: ${text}`, 'owners is built anew up to position 100: 90 events in 1.3 s'])
  })
})
