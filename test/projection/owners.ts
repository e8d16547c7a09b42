/** A projection of which a test and its processes have to have the same. */
import { defineProjection, on, type Projection } from '../../src/index.js'
import { Dog } from '../application/dogs.js'
import type { TestClient } from '../prisma/open-database.js'

/** A row for each dog, which says by its name which version has made it. */
export function ownersOf(db: () => TestClient, version: number): Projection {
  return defineProjection({
    name: 'owners',
    version,
    models: ['Owner'],
    on: [
      on(Dog, 'Registered', async ({ originatorId }) => {
        await db().owner.create({ data: { name: `version ${version}`, dog: originatorId } })
      }),
    ],
  })
}
