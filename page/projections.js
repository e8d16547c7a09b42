/** Projections: how far each has come, what blocks it, and what can be done about that. */
import { ask, h, hash, number, problem, say } from './dom.js'
import { fact } from './events.js'

const looks = { live: 'good', building: 'warm', paused: 'warm', blocked: 'bad', superseded: '' }
const pollMs = 3_000

export async function showProjections(view) {
  view.title('Projections')
  const place = h('div', { class: 'body' })
  view.show(place)
  let known
  const refresh = async () => {
    const status = await ask('projections', {}, view)
    const now = JSON.stringify(status)
    if (now === known) return
    known = now
    keepingFocus(place, () => place.replaceChildren(...sections(status, act)))
  }
  const act = async (name, action, position) => {
    const done = h('div')
    place.before(done)
    await view.attempt(async () => {
      await ask('act', { name, action, position }, { ...view, method: 'POST' })
      done.remove()
      say(`${action}: done for ${name}.`)
    }, done)
    await view.attempt(refresh, place)
  }
  for (;;) {
    await refresh()
    await view.wait(pollMs)
  }
  function sections(status) {
    if (status.problem !== undefined) return [problem({ message: status.problem })]
    if (status.projections.length === 0) return [h('p', { class: 'note' }, 'No projection has run yet.')]
    return status.projections.map((report) => projection(report, view.info.allowsChanges ? act : undefined))
  }
}

/** Elements are made anew; the one with the focus is found again by its key. */
function keepingFocus(place, change) {
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : undefined
  change()
  if (key !== undefined) [...place.querySelectorAll('[data-key]')].find((each) => each.dataset.key === key)?.focus()
}

function projection(report, act) {
  const {
    name,
    kind,
    version,
    status,
    position,
    lagEvents,
    lagMs,
    target,
    partitions,
    owners,
    reason,
    failedPosition,
    aside,
  } = report
  return h(
    'section',
    { 'aria-label': name },
    h('div', { class: 'head' }, h('h2', {}, name), h('span', { class: `tag ${looks[status] ?? ''}` }, status)),
    h(
      'dl',
      { class: 'facts' },
      kind === 'reaction' ? fact('Kind', 'reaction') : fact('Version', number(version)),
      fact('Position', number(Number(position))),
      target === undefined ? null : fact('Target', number(Number(target))),
      lagEvents === undefined ? null : fact('Behind', `${number(lagEvents)} positions`),
      lagMs === undefined ? null : fact('For', `${number(Math.round(lagMs / 1_000))} s`),
      partitions > 1 ? fact('Parts', number(partitions)) : null,
      fact('Run by', owners.length === 0 ? 'nobody' : owners.join(', ')),
    ),
    reason === undefined ? null : h('p', { class: 'problem' }, reason),
    failedPosition === undefined
      ? null
      : h(
          'p',
          { class: 'note' },
          'Blocked by ',
          h('a', { href: hash(['event', failedPosition]) }, `event ${failedPosition}`),
          '.',
        ),
    act === undefined || status === 'superseded' ? null : buttons(report, act),
    aside.length === 0 ? null : asideList(report, act),
  )
}

function buttons({ name, status, wanted, failedPosition }, act) {
  const button = (action, text, position) =>
    h(
      'button',
      { type: 'button', 'data-key': `${name} ${action}`, onclick: () => void act(name, action, position) },
      text,
    )
  const skip = () => {
    if (confirm(`Event ${failedPosition} is never handled by ${name} then. Pass over it?`))
      void act(name, 'skip', failedPosition)
  }
  return h(
    'div',
    { class: 'actions' },
    wanted === 'paused' ? button('resume', 'Resume') : button('pause', 'Pause'),
    status === 'blocked' ? button('retry', 'Try again') : null,
    status === 'blocked' && failedPosition !== undefined
      ? h('button', { type: 'button', 'data-key': `${name} skip`, onclick: skip }, `Pass over event ${failedPosition}`)
      : null,
  )
}

/** Events that were put aside, with what failed. */
function asideList({ name, aside, parked, isHere }, act) {
  return h(
    'details',
    { open: true },
    h('summary', {}, `${number(parked)} put aside`),
    h(
      'ul',
      { class: 'events' },
      aside.map(({ notificationId, key, attempts, error }) =>
        h(
          'li',
          {},
          h('h3', {}, h('a', { href: hash(['event', notificationId]) }, `Event ${notificationId}`)),
          h('dl', { class: 'facts' }, fact('Key', key), fact('Attempts', number(attempts))),
          h('p', { class: 'problem' }, error),
          act === undefined || !isHere
            ? null
            : h(
                'p',
                { class: 'actions' },
                h(
                  'button',
                  {
                    type: 'button',
                    'data-key': `${name} ${notificationId}`,
                    onclick: () => void act(name, 'retry', notificationId),
                  },
                  `Try event ${notificationId} again`,
                ),
              ),
        ),
      ),
    ),
  )
}
