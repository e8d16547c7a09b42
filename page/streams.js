/** Kinds, the streams of a kind, and a stream with its events and its states. */
import { ask, h, hash, number, problem, say, table, time } from './dom.js'
import { eventItem, fact } from './events.js'
import { changes, shown } from './values.js'

/** How many streams and events there are. */
export async function showKinds(view) {
  view.title('Streams')
  const place = h('div')
  view.show(place)
  for (;;) {
    const { kinds, countedAt, isCounting } = await ask('kinds', {}, view)
    const rows = kinds.map(({ name, streams, events, hasStates, topics }) => [
      h('a', { href: hash(['kind', name]) }, name),
      number(streams),
      number(events),
      topics === undefined || topics.length === 0 ? '' : topicList(topics),
      hasStates ? 'shown' : '',
    ])
    const columns = [['Kind'], ['Streams', true], ['Events', true], ['Topics'], ['States']]
    const counted = countedAt === undefined ? null : h('p', { class: 'note' }, 'Counted at ', time(countedAt), '.')
    if (kinds.length === 0) {
      const text = isCounting ? 'The log is being counted…' : 'Nothing is stored yet, and no kinds were named.'
      place.replaceChildren(h('p', { class: 'note' }, text))
    } else
      place.replaceChildren(
        table('Kinds of streams', columns, rows),
        counted ?? h('p', { class: 'note' }, isCounting ? 'The log is being counted…' : ''),
      )
    if (!isCounting) return
    await view.wait(1_000)
  }
}

function topicList(topics) {
  return h(
    'details',
    {},
    h('summary', {}, `${topics.length} ${topics.length === 1 ? 'topic' : 'topics'}`),
    h(
      'ul',
      {},
      topics.map(({ topic, events }) => h('li', {}, `${topic}: ${number(events)}`)),
    ),
  )
}

const streamsPerPage = 25

/** The streams of a kind, those that began last first. The server looks at a part of the log at a time. */
export async function showKind(view, [kind], query) {
  view.title(`Streams of ${kind}`)
  const rows = []
  let next = query.get('before')
  do {
    const page = await ask('streams', { kind, before: next }, view)
    rows.push(...page.streams.map(streamRow))
    next = page.next
    const more =
      next === null ? null : h('a', { href: hash(['kind', kind], { before: next }) }, 'Streams that began earlier')
    const none = next === null ? 'There are none.' : `Searching, up to position ${number(Number(next))}…`
    view.show(
      rows.length === 0
        ? h('p', { class: 'note' }, none)
        : table(
            `Streams of ${kind}, the youngest first`,
            [['Stream'], ['Version', true], ['Last event'], ['Began']],
            rows,
          ),
      h(
        'p',
        { class: 'more' },
        query.has('before') ? h('a', { href: hash(['kind', kind]) }, 'The youngest') : null,
        more,
      ),
    )
  } while (next !== null && rows.length < streamsPerPage)
}

function streamRow({ id, version, topic, recordedAt }) {
  return [h('a', { class: 'id', href: hash(['stream', id]) }, id), number(version), topic ?? '', time(recordedAt)]
}

/** A stream: its events from the newest back, and its state at any version. */
export async function showStream(view, [id], query) {
  view.title(`Stream ${id}`)
  const stream = await ask('stream', { id }, view)
  const { application } = view.info
  const list = h('ol', { class: 'events', reversed: true })
  const state = stream.hasStates ? statePanel(view, stream, versionIn(query, stream), list) : null
  const stateLink =
    state === null
      ? undefined
      : ({ version }) =>
          h(
            'a',
            {
              href: hash(['stream', id], { version }),
              onclick: (event) => {
                if (event.metaKey || event.ctrlKey || event.shiftKey) return
                event.preventDefault()
                state.go(version)
              },
            },
            `State at version ${version}`,
          )
  const add = (events) => {
    list.append(...events.map((event) => eventItem(event, { application, stateLink, hasStream: false })))
    state?.mark()
  }
  add(stream.events)
  let { earlier } = stream
  const more = h('button', { type: 'button', hidden: earlier === null }, 'Earlier events')
  more.addEventListener('click', () => {
    void view.attempt(async () => {
      const page = await ask('stream', { id, upTo: earlier }, view)
      add(page.events)
      say(`${page.events.length} earlier events are shown.`)
      earlier = page.earlier
      more.hidden = earlier === null
    })
  })
  const timeline = h('section', { class: 'timeline', 'aria-labelledby': 'timeline' })
  timeline.append(h('h2', { id: 'timeline' }, 'Events'), list, h('div', { class: 'more' }, more))
  const kind = h('a', { href: hash(['kind', stream.kind]) }, stream.kind)
  view.show(
    h('dl', { class: 'facts' }, fact('Kind', kind), fact('Events', number(stream.last - stream.first + 1))),
    h(
      'div',
      { class: 'columns' },
      h(
        'section',
        { class: 'state', 'aria-labelledby': 'state' },
        state?.nodes ?? noStates(stream),
        snapshotsOf(view, id),
      ),
      timeline,
    ),
  )
  state?.go(versionIn(query, stream), { isFirst: true })
}

function versionIn(query, { first, last }) {
  const asked = Number(query.get('version') ?? last)
  return Number.isInteger(asked) ? Math.min(last, Math.max(first, asked)) : last
}

function noStates({ kind }) {
  return [
    h('h2', { id: 'state' }, 'State'),
    h('p', { class: 'note' }, `States are shown of kinds that the option kinds names. ${kind} is none of them.`),
  ]
}

/** The slider over all versions, the state at the one that it is at, and what is different from the one before. */
function statePanel(view, { id, first, last }, version, list) {
  const body = h('div', { class: 'body', 'aria-live': 'polite' })
  const label = h('output', { for: 'version' })
  const input = h('input', {
    id: 'version',
    type: 'range',
    min: first,
    max: last,
    step: 1,
    value: version,
    'aria-describedby': 'version-help',
  })
  const step = (text, name, by) =>
    h('button', { type: 'button', 'aria-label': name, onclick: () => go(Number(input.value) + by) }, text)
  const [back, forth] = [step('←', 'One version back', -1), step('→', 'One version on', 1)]
  let asking
  const mark = () => {
    for (const item of list.children) item.classList.toggle('shown', item.dataset.version === input.value)
  }
  const load = async () => {
    asking?.abort()
    const own = (asking = new AbortController())
    const wanted = Number(input.value)
    // Whoever moves the slider passes by many versions.
    await view.wait(60)
    if (own.signal.aborted) return
    const found = await ask('state', { id, version: wanted }, { signal: AbortSignal.any([own.signal, view.signal]) })
    if (own.signal.aborted) return
    body.replaceChildren(
      ...(found.problem === undefined
        ? [
            h('h3', {}, `Changes of version ${wanted}`),
            changes(found.before, found.state),
            h('h3', {}, `State at version ${wanted}`),
            shown(found.state),
          ]
        : [problem({ message: `The state cannot be made. ${found.problem}` })]),
    )
  }
  const go = (wanted, { isFirst = false } = {}) => {
    input.value = String(Math.min(last, Math.max(first, wanted)))
    label.textContent = `version ${input.value} of ${last}`
    back.disabled = Number(input.value) === first
    forth.disabled = Number(input.value) === last
    mark()
    if (!isFirst) history.replaceState(null, '', hash(['stream', id], { version: input.value }))
    void view.attempt(load, body)
  }
  input.addEventListener('input', () => go(Number(input.value)))
  const nodes = [
    h('h2', { id: 'state' }, 'State'),
    h('div', {}, h('label', { for: 'version' }, 'Look at'), ' ', label),
    h('div', { class: 'slider' }, back, input, forth),
    h('p', { class: 'note', id: 'version-help' }, 'The arrow keys move it by one version.'),
    body,
  ]
  return { nodes, go, mark }
}

/** Asked for when somebody opens them. */
function snapshotsOf(view, id) {
  const place = h('div')
  const details = h('details', {}, h('summary', {}, 'Snapshots'), place)
  details.addEventListener('toggle', () => {
    if (!details.open || place.childElementCount > 0) return
    void view.attempt(async () => {
      const { snapshots } = await ask('snapshots', { id }, view)
      place.replaceChildren(
        snapshots.length === 0
          ? h('p', { class: 'note' }, 'There are none.')
          : h(
              'ol',
              { class: 'events' },
              snapshots.map((each) => snapshotItem(each)),
            ),
      )
    }, place)
  })
  return details
}

function snapshotItem({ version, bytes, timestamp, data, problem: reason }) {
  return h(
    'li',
    {},
    h('h3', {}, `Snapshot at version ${version}`),
    h(
      'dl',
      { class: 'facts' },
      timestamp === undefined ? null : fact('At', time(timestamp)),
      fact('Stored', `${number(bytes)} bytes`),
    ),
    reason === undefined ? shown(data) : problem({ message: reason }),
  )
}
