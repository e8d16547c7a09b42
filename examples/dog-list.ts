/** The list of all dogs, with how much each can: rows of a model of its own, kept up to date by a projection. */
import { defineProjection, ProjectionRunner, rows } from 'eventsourcing-prisma'
import type { Database } from './db.js'
import { Dog } from './dogs.js'

/** Makes what keeps the list up to date; it does not run yet. */
export function dogListRunner({ datastore, db, school }: Database): ProjectionRunner {
  const dogList = defineProjection({
    name: 'dog-list',
    models: ['ListedDog'],
    ...rows(
      () => db.listedDog,
      'dog',
      (on) => [
        on(
          Dog,
          'Registered',
          ({ originatorId }) => originatorId,
          (_row, { originatorId, data }) => ({ dog: originatorId, name: data.name, tricks: 0 }),
        ),
        on(
          Dog,
          'TrickAdded',
          ({ originatorId }) => originatorId,
          (row) => row && { ...row, tricks: row.tricks + 1 },
        ),
      ],
    ),
  })
  return new ProjectionRunner({ application: school, datastore, projections: [dogList] })
}
