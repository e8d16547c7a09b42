/** Transactions and connections over the last minutes, as small charts. */
import { ask, h, number, table } from './dom.js'

const pollMs = 5_000
const [width, height] = [300, 100]

/** What a sample tells; rates are per second, from one sample to the next. */
const charts = [
  { title: 'Transactions that are open, and that wait', first: ['open', 'open'], second: ['waiting', 'waiting'] },
  {
    title: 'Transactions per second',
    first: ['committed', 'committed'],
    second: ['rolled back', 'rolledBack'],
    isRate: true,
  },
  { title: 'Events stored per second', first: ['events', 'flushedEvents'], isRate: true },
  {
    title: 'Conflicts and repeated attempts per second',
    first: ['conflicts', 'conflicts'],
    second: ['attempts', 'retries'],
    isRate: true,
  },
]

export async function showActivity(view) {
  view.title('Transactions')
  const place = h('div', { class: 'charts' })
  const counts = h('div')
  view.show(h('p', { class: 'note' }, 'Of this process, in the last five minutes.'), place, counts)
  for (;;) {
    const { samples } = await ask('activity', {}, view)
    place.replaceChildren(...charts.map((chart) => drawn(chart, samples)))
    const entries = Object.entries(samples.at(-1).stats).filter(([, value]) => typeof value === 'number')
    const rows = entries.map(([name, value]) => [name, number(Math.round(value))])
    counts.replaceChildren(table('Counts since the process began', [['Count'], ['Value', true]], rows))
    await view.wait(pollMs)
  }
}

function valuesOf(name, isRate, samples) {
  if (!isRate) return samples.map(({ at, stats }) => ({ at, value: stats[name] }))
  return samples.slice(1).flatMap(({ at, stats }, index) => {
    const before = samples[index]
    const seconds = (at - before.at) / 1_000
    // The last sample may have been taken at nearly the same moment.
    return seconds < 0.5 ? [] : [{ at, value: (stats[name] - before.stats[name]) / seconds }]
  })
}

function drawn({ title, first, second, isRate = false }, samples) {
  const series = [first, second]
    .filter((each) => each !== undefined)
    .map(([label, name], index) => ({
      label,
      kind: index === 0 ? 'first' : 'second',
      values: valuesOf(name, isRate, samples),
    }))
  const greatest = Math.max(1, ...series.flatMap(({ values }) => values.map(({ value }) => value)))
  const [from, to] = [samples[0].at, samples.at(-1).at]
  const x = (at) => (to === from ? width : ((at - from) / (to - from)) * width)
  const y = (value) => height - 4 - (value / greatest) * (height - 8)
  const lines = series.map(({ kind, values }) =>
    h('polyline', {
      class: kind,
      points: values.map(({ at, value }) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(' '),
    }),
  )
  const told = series.map(
    ({ label, kind, values }) =>
      `${label}${kind === 'second' ? ' (dashed)' : ''}: ${number(Math.round((values.at(-1)?.value ?? 0) * 10) / 10)}`,
  )
  const most = number(Math.round(greatest * 10) / 10)
  const caption = `${title}. Now ${told.join(', ')}; at most ${most} in the chart.`
  return h(
    'figure',
    {},
    h('figcaption', { class: 'note' }, h('strong', {}, title), h('br'), `${told.join(', ')}; at most ${most}`),
    h(
      'svg',
      { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': caption },
      lines,
    ),
  )
}
