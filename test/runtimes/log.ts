/**
 * An application on the database that PRISMA_URL names, which tests bundle and run on other runtimes: it prints what is in the log, as its
 * subscription has followed it, after work that was done whole and work that was undone.
 */
import { Dog } from '../../examples/dogs.js'
import { TrainingSchool } from '../../examples/school.js'

const school = await new TrainingSchool({
  env: { PERSISTENCE_MODULE: 'eventsourcing-prisma', CREATE_TABLE: 'yes' },
}).ready()
const following = (async () => {
  const topics: string[] = []
  for await (const { notification } of school.subscribe()) {
    topics.push(notification.topic)
    if (notification.topic === 'Dog.TrickAdded') break
  }
  return topics
})()
await school.register('Fido')
const undone = school.recorder
  .transaction(async () => {
    await school.register('Rex')
    throw new Error('The dog ran away')
  })
  .catch((error: unknown) => String(error))
const outcome = await undone
await school.recorder.transaction(async () => {
  await school.register('Bello')
  await school.addTrick('Bello', 'sit')
})
const tricks = await school.getTricks('Bello')
console.log(JSON.stringify({ outcome, tricks, log: await following, hasRex: await hasRex() }))
await school.close()
process.exit()

async function hasRex(): Promise<boolean> {
  return await school.repository.has(Dog, Dog.createId('Rex'))
}
