/** The work done by this library's recorder. */
import { PrismaApplicationRecorder, PrismaDatastore } from 'eventsourcing-prisma'
import { type Contender, pageSize } from './contender.js'

type Adapter = ConstructorParameters<typeof PrismaDatastore>[0]['adapter']

/** Makes the tables, too. */
export async function ours(adapter: Adapter, name: string = 'eventsourcing-prisma'): Promise<Contender> {
  const datastore = new PrismaDatastore({ adapter })
  const recorder = new PrismaApplicationRecorder(datastore)
  await recorder.createTable()
  return {
    name,
    append: async (events) => await recorder.appendEvents(events),
    load: async (originatorId) => (await recorder.selectEvents(originatorId)).length,
    async command(event) {
      const { originatorId, originatorVersion } = event
      await datastore.transaction(async () => {
        await recorder.selectEvents(originatorId)
        const predecessors = [{ originatorId, originatorVersion: originatorVersion - 1 }]
        await recorder.appendEvents([event], { predecessors })
      })
    },
    async readLog() {
      let count = 0
      for (let start = 1n; ; ) {
        const page = await recorder.selectNotifications(start, pageSize)
        count += page.length
        const last = page.at(-1)
        if (last === undefined || page.length < pageSize) return count
        start = last.id + 1n
      }
    },
    close: async () => await datastore.close(),
  }
}
