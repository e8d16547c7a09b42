/** Shows events: in a stream, in the log, and those that belong together. */
import { ask, h, hash, number, problem, time } from './dom.js'
import { shown } from './values.js'

/** An id as the server searches for it. */
function textOf(id) {
  return typeof id === 'string' ? id : JSON.stringify(id)
}

/** Links along what an event follows from, where that is in this log. */
function linksOf(event, application) {
  const { causationId, correlationId, ...others } = event.metadata ?? {}
  const own = `${application}/`
  const cause =
    typeof causationId === 'string' && causationId.startsWith(own) ? causationId.slice(own.length) : undefined
  const start =
    typeof correlationId === 'string' && correlationId.startsWith(own) ? correlationId.slice(own.length) : undefined
  const correlation = correlationId === undefined ? undefined : textOf(correlationId)
  const follows = { name: 'causationId', value: `${own}${event.position}`, from: event.position }
  return {
    others,
    facts: [
      causationId === undefined
        ? null
        : fact(
            'Caused by',
            cause === undefined ? textOf(causationId) : h('a', { href: hash(['event', cause]) }, causationId),
          ),
      correlation === undefined
        ? null
        : fact(
            'Correlation',
            h(
              'a',
              { href: hash(['related'], { name: 'correlationId', value: correlation, from: start }) },
              correlation,
            ),
          ),
      event.position === undefined
        ? null
        : fact('Effects', h('a', { href: hash(['related'], follows) }, 'What has followed')),
    ],
  }
}

export function fact(name, value) {
  return h('div', {}, h('dt', {}, name), h('dd', {}, value))
}

/** One event as an item of a list. `stateLink` makes the link to the state at its version. */
export function eventItem(event, { application, level = 3, stateLink, hasStream = true }) {
  const { others, facts } = linksOf(event, application)
  const hasOthers = Object.keys(others).length > 0
  return h(
    'li',
    { 'data-version': event.version },
    h('div', { class: 'head' }, h(`h${level}`, {}, event.topic), stateLink?.(event)),
    h(
      'dl',
      { class: 'facts' },
      event.timestamp === undefined ? null : fact('At', time(event.timestamp)),
      fact('Version', number(event.version)),
      event.position === undefined
        ? null
        : fact('Position', h('a', { href: hash(['event', event.position]) }, event.position)),
      hasStream
        ? fact(
            'Stream',
            h('a', { class: 'id', href: hash(['stream', event.id], { version: event.version }) }, event.id),
          )
        : null,
      facts,
    ),
    event.problem === undefined
      ? shown(event.data)
      : problem({ message: event.problem || 'This event cannot be read.' }),
    hasOthers ? h('details', {}, h('summary', {}, 'Metadata'), shown(others)) : null,
  )
}

/** One event of the log. */
export async function showEvent(view, [position]) {
  view.title(`Event ${position}`)
  const event = await ask('event', { position }, view)
  view.show(h('ol', { class: 'events' }, eventItem(event, { application: view.info.application, level: 2 })))
}

/** Events that belong together by their metadata. The log has no index of those: it is searched in parts. */
export async function showRelated(view, _path, query) {
  const name = query.get('name') === 'causationId' ? 'causationId' : 'correlationId'
  const value = query.get('value') ?? ''
  const from = query.get('from')
  view.title(name === 'causationId' ? `What has followed from ${value}` : `Correlation ${value}`)
  const list = h('ol', { class: 'events' })
  const note = h('p', { class: 'note', role: 'status' })
  const more = h('button', { type: 'button', hidden: true }, 'Search further')
  const restart = from === null ? null : h('button', { type: 'button' }, 'Search from the beginning of the log')
  view.show(note, list, h('div', { class: 'more' }, more, restart))
  let next = from ?? (await beginOf(view))
  const search = async () => {
    note.textContent = 'Searching…'
    const page = await ask('related', { name, value, from: next }, view)
    list.append(...page.events.map((event) => eventItem(event, { application: view.info.application, level: 2 })))
    next = page.next
    more.hidden = next === null
    const upTo = next === null ? 'the end of the log' : `position ${number(Number(next))}`
    note.textContent = `${number(list.childElementCount)} found, up to ${upTo}.`
  }
  more.addEventListener('click', () => void view.attempt(search))
  restart?.addEventListener('click', () => {
    list.replaceChildren()
    next = '1'
    void view.attempt(search)
  })
  await search()
}

/** Where nobody knows where something began, the last part of the log is searched. */
async function beginOf(view) {
  const { end } = await ask('log', {}, view)
  return String(Math.max(1, Number(end ?? 1) - 10_000))
}
