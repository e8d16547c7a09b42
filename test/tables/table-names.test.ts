import { describe, expect, test } from 'vitest'
import { ProgrammingError } from '../../src/errors.js'
import * as mariadb from '../../src/prisma/dialects/mariadb-tables.js'
import * as postgresql from '../../src/prisma/dialects/postgresql-tables.js'
import * as sqlite from '../../src/prisma/dialects/sqlite-tables.js'
import { expiryIndexName, positionIndexName, primaryKeyName, tableNames } from '../../src/prisma/table-names.js'

describe('the names of an application’s tables', () => {
  test('have the name of the application in lower case as their prefix', () => {
    expect(tableNames('TrainingSchool')).toEqual({
      events: 'trainingschool_events',
      eventTags: 'trainingschool_event_tags',
      snapshots: 'trainingschool_snapshots',
      tracking: 'trainingschool_tracking',
      subjectKeys: 'trainingschool_keys',
      projections: 'trainingschool_projections',
      projectionStates: 'trainingschool_projection_states',
      parkedEvents: 'trainingschool_parked_events',
      inbox: 'trainingschool_inbox',
      timers: 'trainingschool_timers',
    })
  })

  test('have no prefix without a name', () => {
    expect(tableNames('')).toEqual({
      events: 'stored_events',
      eventTags: 'stored_event_tags',
      snapshots: 'stored_snapshots',
      tracking: 'notification_tracking',
      subjectKeys: 'subject_keys',
      projections: 'projections',
      projectionStates: 'projection_states',
      parkedEvents: 'parked_events',
      inbox: 'inbox_messages',
      timers: 'timers',
    })
  })

  test.each(['Training School', 'school"; DROP TABLE dogs', 'école', '1school', 'a-b'])(
    'cannot be made of %s',
    (name) => {
      expect(() => tableNames(name)).toThrow(ProgrammingError)
    },
  )
})

describe('a table', () => {
  const limited = [
    { database: 'PostgreSQL', dialect: postgresql, longest: 63 },
    { database: 'MariaDB', dialect: mariadb, longest: 64 },
  ]

  describe.each(limited)('on $database', ({ dialect, longest }) => {
    const kinds = [
      dialect.eventsTableStatements,
      dialect.snapshotsTableStatements,
      dialect.trackingTableStatements,
      dialect.subjectKeysTableStatements,
      dialect.idempotencyKeysTableStatements,
    ]

    test.each(kinds)('may have the longest name: %o', (statements) => {
      expect(statements('a'.repeat(longest))[0]).toContain('a'.repeat(longest))
    })

    test.each(kinds)('may not have a longer one: %o', (statements) => {
      expect(() => statements('a'.repeat(longest + 1))).toThrow(ProgrammingError)
    })
  })

  test.each([postgresql, mariadb, sqlite])('may not have a name that says more than a name', (dialect) => {
    for (const name of ['', 'a b', 'a"b', 'a`b', 'a;b', 'ä']) {
      expect(() => dialect.eventsTableStatements(name)).toThrow(ProgrammingError)
    }
  })

  test('keeps its index apart from that of a table whose name begins alike', () => {
    const [one, other] = [`${'a'.repeat(62)}1`, `${'a'.repeat(62)}2`]
    for (const nameOf of [positionIndexName, primaryKeyName, expiryIndexName]) {
      expect(nameOf(one, 63).name).not.toBe(nameOf(other, 63).name)
      expect(nameOf(one, 63).name).toHaveLength(63)
    }
  })

  test('has the index that Prisma would name, where that name fits', () => {
    const fitting = 'a'.repeat(63 - '_originator_id_originator_version_key'.length)
    expect(positionIndexName(fitting, 63)).toEqual({
      name: `${fitting}_originator_id_originator_version_key`,
      isDefault: true,
    })
    expect(positionIndexName(`${fitting}a`, 63).isDefault).toBe(false)
  })

  test('may be in a schema of any name', () => {
    const [createSchema, createTable] = postgresql.eventsTableStatements('stored_events', { schema: `it's "odd"` })
    expect(createSchema).toContain(`CREATE SCHEMA IF NOT EXISTS "it''s ""odd"""`)
    expect(createTable).toContain(`"it's ""odd"""."stored_events"`)
  })
})
