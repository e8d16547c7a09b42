/** Tells stories to an application: each command by the class or by the decider, with snapshots of either in between. */
import { expect } from 'vitest'
import type { Application } from '../../src/index.js'
import { fixedClock, fixedIds } from '../../src/testing/index.js'
import type { Story } from './stories.js'

/** How a story is told. */
export type Style = 'class' | 'decider'

/** Which style does the step of an index, and which one takes a snapshot after it. */
export interface Telling {
  readonly does: (index: number) => Style
  readonly snapshots?: (index: number) => Style
}

/**
 * Does all commands of a story, at times and with ids that are the same in each telling.
 *
 * @returns everything that is stored of the events then, as text
 */
export async function tell(application: Application, story: Story, { does, snapshots }: Telling): Promise<string[]> {
  // A refused command may have asked for the time, which must make no difference.
  using clock = fixedClock(undefined, { stepMs: 0 })
  using _ids = fixedIds()
  for (const index of story.steps.keys()) {
    clock.advance(1)
    await (does(index) === 'class' ? stepByClass : stepByDecider)(application, story, index)
    if (snapshots === undefined) continue
    const { aggregateClass, decider, id } = story
    // One call each: which kind it is decides between two overloads.
    if (snapshots(index) === 'class') await application.takeSnapshot(aggregateClass, id)
    else await application.takeSnapshot(decider, id)
  }
  return await historyOf(application)
}

/** The topics that come of a story. */
export function topicsOf({ steps, decider }: Story): string[] {
  return steps.flatMap(({ gives }) => (gives === undefined ? [] : [`${decider.name}.${gives}`]))
}

/** The members of the aggregate, and the state of the decider, as an application reads them. */
export async function statesOf({ repository }: Application, story: Story): Promise<object[]> {
  const aggregate = await repository.get(story.aggregateClass, story.id)
  const { state } = await repository.get(story.decider, story.id)
  return [Object.assign({}, aggregate), Object.assign({}, state)]
}

async function historyOf({ recorder }: Application): Promise<string[]> {
  const notifications = await recorder.selectNotifications(null, 100)
  return notifications.map(({ originatorId, originatorVersion, topic, state }) =>
    [topic, originatorVersion, originatorId, Buffer.from(state).toString('hex')].join(' '),
  )
}

async function stepByClass(application: Application, story: Story, index: number): Promise<void> {
  if (index === 0) {
    await application.save(story.create())
    return
  }
  const step = story.steps[index]
  const aggregate = await application.repository.get(story.aggregateClass, story.id)
  if (step?.refusal === undefined) {
    step?.act(aggregate)
    await application.save(aggregate)
    return
  }
  expect(() => step.act(aggregate)).toThrow(step.refusal)
  // It left nothing: neither in the aggregate, nor for a save.
  expect(aggregate.equals(await application.repository.get(story.aggregateClass, story.id))).toBe(true)
  expect(await application.save(aggregate)).toEqual([])
}

async function stepByDecider(application: Application, story: Story, index: number): Promise<void> {
  const { command, args, refusal } = story.steps[index] ?? { command: '', args: [] }
  const execute = async (): Promise<unknown> => await application.execute(story.decider, story.id, command, ...args)
  if (refusal === undefined) {
    await execute()
    return
  }
  const before = await application.repository.get(story.decider, story.id)
  await expect(execute()).rejects.toThrow(refusal)
  expect(await application.repository.get(story.decider, story.id)).toEqual(before)
}
