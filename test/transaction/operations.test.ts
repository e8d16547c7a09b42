/** Which operation a statement belongs to, where it is sent in the context of another one. */
import { expect, it } from 'vitest'
import { ClientCall, type Operation, Operations } from '../../src/transaction/calls.js'

const made = (operations: Operations, name: string, isRead = false): Operation =>
  operations.make(new ClientCall(name, undefined), isRead)

it('notes a write for the operation that sends it, also among others of its scope', async () => {
  const operations = new Operations()
  const [first, second] = [made(operations, 'first'), made(operations, 'second')]
  await operations.inside(first, async () => await operations.inside(second, async () => operations.noteWrite()))
  expect([first.hasWritten, second.hasWritten]).toEqual([false, true])
})

it('notes a write for those of its scope that may write, where it seems to come from an operation of another scope', async () => {
  const [own, others] = [new Operations(), new Operations()]
  const [writing, reading, other] = [made(own, 'create'), made(own, 'findMany', true), made(others, 'create')]
  const runs = [writing, reading].map((operation) =>
    own.inside(operation, async () => await new Promise<void>((resolve) => void setImmediate(resolve))),
  )
  await others.inside(other, async () => own.noteWrite())
  await Promise.all(runs)
  expect([writing.hasWritten, reading.hasWritten, other.hasWritten]).toEqual([true, false, false])
})
