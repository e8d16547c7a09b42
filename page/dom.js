/** Makes elements, and asks the server. Nothing that is stored becomes markup: it is text everywhere. */

const svgTags = new Set(['svg', 'polyline', 'line', 'title'])

/** An element with attributes, listeners (`onclick`) and children; what is null or false is left out. */
export function h(tag, attributes = {}, ...children) {
  const isSvg = svgTags.has(tag)
  const element = isSvg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag)
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
    else element.setAttribute(name, value === true ? '' : String(value))
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false))
  return element
}

const place = location.pathname.replace(/\/$/, '')

/** The address of something that the page asks for. */
export function addressOf(name, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null)
  return `${place}/api/${name}?${new URLSearchParams(given)}`
}

/** Asks the server. Throws an error that says what to show; with the status 404 where there is no such thing. */
export async function ask(name, query, { signal, method = 'GET' } = {}) {
  // A page of another origin cannot send this header without being allowed to.
  const headers = method === 'GET' ? {} : { 'es-browser': '1' }
  const response = await fetch(addressOf(name, query), { signal, method, headers })
  const body = await response.json().catch(() => ({}))
  if (response.ok) return body
  const error = new Error(body.error ?? body.detail ?? `The server has answered ${response.status}.`)
  error.status = response.status
  throw error
}

/** An address in the page, such as `#/stream/<id>?version=3`. */
export function hash(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null)
  const search = given.length === 0 ? '' : `?${new URLSearchParams(given)}`
  return `#/${path.map(encodeURIComponent).join('/')}${search}`
}

/** Says something to who cannot see what has changed. */
export function say(text) {
  document.getElementById('status').textContent = text
}

export function problem(error) {
  return h('p', { class: 'problem', role: 'alert' }, error.message)
}

const times = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })

/** A time, in the reader's zone. */
export function time(iso) {
  return h('time', { datetime: iso, title: iso }, times.format(new Date(iso)))
}

const numbers = new Intl.NumberFormat()

export function number(value) {
  return value === undefined || value === null ? '–' : numbers.format(value)
}

/** A table whose first column is its head; columns are `[name, isNumber]`. It may be scrolled by keys where it is too wide. */
export function table(caption, columns, rows) {
  const classOf = (index) => (columns[index][1] ? 'number' : null)
  const head = columns.map(([name], index) => h('th', { scope: 'col', class: classOf(index) }, name))
  const body = rows.map((row) =>
    h(
      'tr',
      {},
      row.map((cell, index) =>
        index === 0 ? h('th', { scope: 'row' }, cell) : h('td', { class: classOf(index) }, cell),
      ),
    ),
  )
  return h(
    'div',
    { class: 'table', tabindex: 0, role: 'region', 'aria-label': caption },
    h('table', {}, h('caption', {}, caption), h('thead', {}, h('tr', {}, head)), h('tbody', {}, body)),
  )
}
