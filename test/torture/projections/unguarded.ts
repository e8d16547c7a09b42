/** A runner's database for this test alone, in which positions move whoever has the lease: it shows that the torture finds that. */
import type { PrismaDatastore } from '../../../src/index.js'
import type { ProjectionRecorder } from '../../../src/persistence/projection-recorder.js'
import type { ProjectionDatastore } from '../../../src/projection/runner-options.js'
import type { TestClient } from '../../prisma/open-database.js'

/** Takes the compare-and-set away. */
export function unguarded(datastore: PrismaDatastore<TestClient>): ProjectionDatastore {
  return {
    infrastructureFactory: (environment) => ({
      projectionRecorder: () => {
        const recorder: ProjectionRecorder | undefined = datastore
          .infrastructureFactory(environment)
          .projectionRecorder?.()
        if (recorder === undefined) return undefined
        const batch: ProjectionRecorder['batch'] = async ({ name }, { to }, work) => {
          await datastore.transaction(
            async ({ client }) => {
              let reached = to
              await work({
                client,
                stopAt: async (position) => {
                  reached = position
                },
              })
              await client.$executeRawUnsafe(
                `UPDATE ledgers_projections SET position = ${reached} WHERE name = '${name}'`,
              )
            },
            { propagation: 'requiresNew', deadlineMs: 60_000 },
          )
        }
        return new Proxy(recorder, {
          get(target, member) {
            if (member === 'batch') return batch
            const value: unknown = Reflect.get(target, member, target)
            return typeof value === 'function' ? value.bind(target) : value
          },
        })
      },
    }),
  }
}
