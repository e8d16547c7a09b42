/** The repository: the latest state, earlier ones, and what is not there. */
import { describe, expect, expectTypeOf, it } from 'vitest'
import { domainEvent } from '../../src/domain/event.js'
import { createTimestamp } from '../../src/domain/timestamp.js'
import { AggregateNotFoundError, OriginatorVersionError, TopicError } from '../../src/errors.js'
import { accounts, Dog, TrainingSchool } from './dogs.js'

async function schoolWithFido(): Promise<TrainingSchool> {
  const school = new TrainingSchool()
  await school.register('Fido')
  for (const trick of ['sit', 'roll over', 'play dead']) await school.addTrick('Fido', trick)
  return school
}

const fidoId = Dog.createId('Fido')

describe('a repository', () => {
  it('rebuilds an aggregate that equals the one that was saved [178]', async () => {
    const school = await schoolWithFido()
    const fido = await school.repository.get(Dog, fidoId)
    expectTypeOf(fido).toEqualTypeOf<Dog>()
    expect(fido).toBeInstanceOf(Dog)
    expect(fido.version).toBe(4)
    expect(fido.pendingEvents).toEqual([])
    fido.addTrick('fetch ball')
    await school.save(fido)
    expect(fido.equals(await school.repository.get(Dog, fidoId))).toBe(true)
  })

  it('rebuilds any version, also after later events [178]', async () => {
    const school = await schoolWithFido()
    const tricksAt = async (version: number): Promise<number> =>
      (await school.repository.get(Dog, fidoId, { version })).tricks.length
    expect([await tricksAt(1), await tricksAt(2), await tricksAt(3), await tricksAt(4)]).toEqual([0, 1, 2, 3])
    await school.addTrick('Fido', 'fetch ball')
    expect(await tricksAt(4)).toBe(3)
    expect(await school.getTricks('Fido')).toHaveLength(4)
  })

  it('has no aggregate with an unknown id, or before its first version [177]', async () => {
    const school = await schoolWithFido()
    const unknown = Dog.createId('Rex')
    await expect(school.repository.get(Dog, unknown)).rejects.toBeInstanceOf(AggregateNotFoundError)
    await expect(school.repository.get(Dog, unknown)).rejects.toThrow(`Dog ${unknown}`)
    await expect(school.repository.get(Dog, fidoId, { version: 0 })).rejects.toThrow(`Dog ${fidoId} at version 0`)
    await expect(school.repository.get(accounts, 'account-1')).rejects.toThrow('Account account-1')
  })

  it('tells whether an aggregate exists [181]', async () => {
    const school = await schoolWithFido()
    expect(await school.repository.has(Dog, fidoId)).toBe(true)
    expect(await school.repository.has(Dog, Dog.createId('Rex'))).toBe(false)
    expect(await school.repository.has(accounts, 'account-1')).toBe(false)
  })

  it('refuses a stream of another class, and one with a gap', async () => {
    const school = await schoolWithFido()
    await expect(school.repository.get(accounts, fidoId)).rejects.toBeInstanceOf(TopicError)
    const { mapper, recorder } = await school.eventStore()
    const late = domainEvent({
      originatorId: fidoId,
      originatorVersion: 6,
      topic: 'Dog.TrickAdded',
      timestamp: createTimestamp(),
      data: { trick: 'beg' },
    })
    await recorder.insertEvents([mapper.toStoredEvent(late)])
    await expect(school.repository.get(Dog, fidoId)).rejects.toBeInstanceOf(OriginatorVersionError)
  })

  it('gives each caller an aggregate of its own', async () => {
    const school = await schoolWithFido()
    const first = await school.repository.get(Dog, fidoId)
    first.addTrick('beg')
    expect((await school.repository.get(Dog, fidoId)).tricks).toHaveLength(3)
  })
})
