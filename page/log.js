/** The log: its last events, and those that are stored while one looks. */
import { addressOf, ask, h, number, say } from './dom.js'
import { eventItem } from './events.js'

const mostShown = 200

export async function showLog(view) {
  view.title('Log')
  const { application } = view.info
  const state = h('span', { class: 'tag', role: 'status' }, 'connecting')
  const pause = h('button', { type: 'button', 'aria-pressed': 'false' }, 'Hold')
  const list = h('ol', { class: 'events', reversed: true })
  const page = await ask('log', {}, view)
  const item = (event) => eventItem(event, { application, level: 2 })
  list.append(...page.events.toReversed().map(item))
  let { earlier } = page
  const more = h('button', { type: 'button', hidden: earlier === null }, 'Earlier events')
  more.addEventListener('click', () => {
    void view.attempt(async () => {
      const before = await ask('log', { before: earlier }, view)
      list.append(...before.events.toReversed().map(item))
      say(`${before.events.length} earlier events are shown.`)
      earlier = before.earlier
      more.hidden = earlier === null
    })
  })
  view.show(h('div', { class: 'head' }, state, pause), list, h('div', { class: 'more' }, more))
  follow(view, { after: page.end, state, pause, list, item })
}

/** The browser connects again by itself, and says which event it had last. */
function follow(view, { after, state, pause, list, item }) {
  const held = []
  const source = new EventSource(addressOf('live', { after: after ?? 0 }))
  view.signal.addEventListener('abort', () => source.close())
  const isHeld = () => pause.getAttribute('aria-pressed') === 'true'
  const tell = (text, kind) => {
    state.textContent = text
    state.className = `tag ${kind}`
  }
  const add = (events) => {
    for (const event of events.slice(-mostShown)) list.prepend(item(event))
    while (list.childElementCount > mostShown * 2) list.lastElementChild.remove()
    say(`${events.length} new ${events.length === 1 ? 'event' : 'events'}.`)
  }
  source.addEventListener('open', () => tell('live', 'good'))
  source.addEventListener('error', () => {
    tell(source.readyState === EventSource.CLOSED ? 'ended' : 'connecting again', 'bad')
  })
  source.addEventListener('message', ({ data }) => {
    const events = JSON.parse(data)
    if (!isHeld()) return add(events)
    held.push(...events)
    held.splice(0, held.length - mostShown)
    tell(`held, ${number(held.length)} new`, 'warm')
  })
  pause.addEventListener('click', () => {
    pause.setAttribute('aria-pressed', String(!isHeld()))
    tell(isHeld() ? 'held' : 'live', isHeld() ? 'warm' : 'good')
    if (!isHeld()) add(held.splice(0))
  })
}
