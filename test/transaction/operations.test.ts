/** Which operation a statement belongs to, where it is sent in the context of another one. */
import { expect, it } from 'vitest'
import { Operations } from '../../src/transaction/calls.js'

const newOperations = (): Operations => new Operations()

it('notes a write for the operation that sends it, also among others of its scope', async () => {
  const operations = newOperations()
  const [first, second] = [operations.make('first', false), operations.make('second', false)]
  await operations.inside(first, async () => await operations.inside(second, async () => operations.noteWrite()))
  expect([first.hasWritten, second.hasWritten]).toEqual([false, true])
})

it('notes a write for those of its scope that may write, where it seems to come from an operation of another scope', async () => {
  const [own, others] = [newOperations(), newOperations()]
  const [writing, reading, other] = [
    own.make('create', false),
    own.make('findMany', true),
    others.make('create', false),
  ]
  const runs = [writing, reading].map((operation) =>
    own.inside(operation, async () => await new Promise<void>((resolve) => void setImmediate(resolve))),
  )
  await others.inside(other, async () => own.noteWrite())
  await Promise.all(runs)
  expect([writing.hasWritten, reading.hasWritten, other.hasWritten]).toEqual([true, false, false])
})
