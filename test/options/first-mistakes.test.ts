/** What people write in their first hour is refused at once, by the message that docs/first-mistakes.md shows. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { Application, defineDecider } from '../../src/index.js'
import { knownVariables } from '../../src/persistence/environment.js'
import { firstMistakes } from './first-mistakes.js'

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8')

it.each(firstMistakes)('refuses $code', async ({ run, message }) => {
  const refusal = await Promise.resolve()
    .then(run)
    .catch((error: unknown) => error)
  expect(refusal).toMatchObject({ isEventSourcingError: true, message })
})

it('tells who comes from Python what the module is called here', async () => {
  for (const name of ['eventsourcing.sqlite', 'eventsourcing_sqlalchemy', 'eventsourcing_prisma']) {
    const ready = new Application({ name: 'Dogs', env: { PERSISTENCE_MODULE: name } }).ready()
    await expect(ready).rejects.toThrow(/PERSISTENCE_MODULE cannot be used\. .* Did you mean eventsourcing-prisma\?$/)
  }
})

it('names the command that was probably meant', async () => {
  const count = defineDecider({
    name: 'Count',
    initialState: () => 0,
    evolve: { Added: (state, data: { by: number }) => state + data.by },
    decide: { add: (_state, by: number) => [{ type: 'Added' as const, data: { by } }] },
  })
  const application = new Application({ name: 'Counts', store: 'memory' })
  // What JavaScript takes.
  const untyped = application as unknown as { execute(...args: readonly unknown[]): Promise<unknown> }
  await expect(untyped.execute(count, '4711', 'ad', 1)).rejects.toThrow(
    'Count.decide.ad does not exist; did you mean add?',
  )
})

it('shows every mistake with its message', () => {
  const rows = [...read('docs/first-mistakes.md').matchAll(/^\| `(.+?)` +\| (.+?) +\|$/gm)]
  expect(rows.map(([, code, message]) => ({ code, message }))).toEqual(
    firstMistakes.map(({ code, message }) => ({ code, message })),
  )
})

it('knows every variable that the README names', () => {
  const named = [...read('README.md').matchAll(/^\| (`[A-Z_]{6,}`.*?) *\|/gm)].flatMap(([, names = '']) =>
    [...names.matchAll(/`([A-Z_]+)`/g)].map(([, name]) => name),
  )
  expect(named.length).toBeGreaterThan(10)
  expect(knownVariables).toEqual(expect.arrayContaining(named))
})
