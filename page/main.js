/** The page: shows the view that the part of the address behind # names, so that every view has a link. */

import { showActivity } from './activity.js'
import { ask, h, hash, problem } from './dom.js'
import { showEvent, showRelated } from './events.js'
import { showLog } from './log.js'
import { showProjections } from './projections.js'
import { showKind, showKinds, showStream } from './streams.js'

const views = {
  '': showKinds,
  kind: showKind,
  stream: showStream,
  event: showEvent,
  related: showRelated,
  log: showLog,
  projections: showProjections,
  activity: showActivity,
}
const main = document.getElementById('main')
let info
let current

/** What a view shows itself with, until the next one is there. */
function openView(isFirst) {
  const over = new AbortController()
  const heading = h('h1', { tabindex: -1 })
  const body = h('div')
  const view = {
    info,
    signal: over.signal,
    title(text) {
      heading.textContent = text
      document.title = `${text} – ${info.application || 'Events'}`
      // Whoever follows a link by the keyboard or hears the page is told where it leads.
      if (!isFirst) heading.focus()
    },
    show(...nodes) {
      // The heading stays where it is, since it may have the focus.
      while (heading.nextSibling !== null) heading.nextSibling.remove()
      main.append(...nodes.filter((node) => node !== null))
    },
    async wait(ms) {
      await new Promise((resolve) => setTimeout(resolve, ms))
      over.signal.throwIfAborted()
    },
    async attempt(work, place = body) {
      try {
        await work()
        if (place === body) body.replaceChildren()
      } catch (error) {
        if (error.name === 'AbortError') return
        place.replaceChildren(problem(error))
        if (!place.isConnected) main.append(place)
      }
    },
    close: () => over.abort(),
  }
  main.replaceChildren(heading, h('p', { class: 'note' }, 'Loading…'))
  return view
}

function addressed() {
  const [path = '', search = ''] = location.hash.replace(/^#\/?/, '').split(/\?(.*)/s)
  return { parts: path.split('/').map(decodeURIComponent), query: new URLSearchParams(search) }
}

async function go(isFirst = false) {
  const { parts, query } = addressed()
  const [name, ...rest] = parts
  current?.close()
  const view = (current = openView(isFirst))
  const show = views[name]
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.dataset.name === (['kind', 'stream'].includes(name) ? '' : name)
    if (isHere) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  await view.attempt(async () => {
    if (show === undefined) throw new Error('There is no such view.')
    try {
      await show(view, rest, query)
    } catch (error) {
      if (error.name === 'AbortError') return
      const text = error.status === 404 ? `Nothing was found: ${error.message}` : error.message
      view.show(problem({ message: text }))
    }
  })
}

/** What was given is the id of a stream, or else a position of the log. */
async function find(event) {
  event.preventDefault()
  const given = document.getElementById('search-id').value.trim()
  if (given === '') return
  const { view } = await ask('find', { given })
  location.hash = hash([view, given])
}

async function begin() {
  try {
    info = await ask('info')
  } catch (error) {
    main.replaceChildren(h('h1', {}, 'Events'), problem(error))
    return
  }
  document.getElementById('brand').textContent = info.application || 'Events'
  const names = [
    ['', 'Streams'],
    ['log', 'Log'],
    ...(info.hasDatastore
      ? [
          ['projections', 'Projections'],
          ['activity', 'Transactions'],
        ]
      : []),
  ]
  const items = names.map(([name, text]) => h('li', {}, h('a', { href: hash([name]), 'data-name': name }, text)))
  document.getElementById('nav').append(...items)
  document.getElementById('search').addEventListener('submit', (event) => void find(event))
  document.querySelector('.skip').addEventListener('click', (event) => {
    event.preventDefault()
    main.focus()
  })
  window.addEventListener('hashchange', () => void go())
  await go(true)
}

void begin()
