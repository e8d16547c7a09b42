/** Shows values, and what is different between two. */
import { h, table } from './dom.js'

/** What is no JSON is marked by the server: `{ $: 'hidden', text: 'hidden' }`. */
function isMarked(value) {
  return typeof value === 'object' && value !== null && typeof value.$ === 'string' && Object.keys(value).length === 2
}

function isNested(value) {
  return typeof value === 'object' && value !== null && !isMarked(value)
}

/** A value as JSON, in colours. */
export function shown(value) {
  return h('pre', {}, h('code', {}, parts(value, '')))
}

function parts(value, indent) {
  if (!isNested(value)) return leaf(value)
  const isList = Array.isArray(value)
  const entries = Object.entries(value)
  const [open, close] = isList ? '[]' : '{}'
  if (entries.length === 0) return open + close
  const inner = `${indent}  `
  const lines = entries.map(([name, member], index) => [
    `\n${inner}`,
    isList ? null : [h('span', { class: 'key' }, JSON.stringify(name)), ': '],
    parts(member, inner),
    index < entries.length - 1 ? ',' : '',
  ])
  return [open, lines, `\n${indent}${close}`]
}

function leaf(value) {
  if (isMarked(value)) return h('span', { class: 'mark' }, value.text)
  return h('span', { class: typeof value === 'string' ? 'text' : 'plain' }, JSON.stringify(value))
}

const mostChanges = 200

/** A table of what has changed; before is null for the first version. */
export function changes(before, after) {
  const found = []
  collect(
    isNested(before) ? before : before === null ? {} : { '': before },
    isNested(after) ? after : { '': after },
    [],
    found,
  )
  if (found.length === 0) return h('p', { class: 'note' }, 'Nothing has changed.')
  const rows = found
    .slice(0, mostChanges)
    .map(({ path, old, now }) => [
      h('span', { class: 'id' }, path.join('.') || 'the state'),
      old === undefined ? '–' : h('del', {}, h('code', {}, parts(old, ''))),
      now === undefined ? '–' : h('ins', {}, h('code', {}, parts(now, ''))),
    ])
  const caption =
    found.length > mostChanges ? `The first ${mostChanges} of ${found.length} changes` : 'What this event has changed'
  const shownRows = table(caption, [['Field'], ['Before'], ['After']], rows)
  shownRows.classList.add('changes')
  return shownRows
}

function collect(before, after, path, found) {
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    const [old, now] = [before[name], after[name]]
    const here = name === '' ? path : [...path, name]
    if (isNested(old) && isNested(now) && Array.isArray(old) === Array.isArray(now)) collect(old, now, here, found)
    else if (JSON.stringify(old) !== JSON.stringify(now)) found.push({ path: here, old, now })
  }
}
