/** Writes the Prisma models that make an application's tables. */
import { ProgrammingError } from '../errors.js'
import type { Dialect, OriginatorIdType } from '../prisma/dialect.js'
import { mysqlModelTypes, positionsTable } from '../prisma/dialects/mariadb-tables.js'
import { postgresqlModelTypes } from '../prisma/dialects/postgresql-tables.js'
import { sqliteModelTypes } from '../prisma/dialects/sqlite-tables.js'
import {
  checkIdentifier,
  dueIndexName,
  type ModelTypes,
  positionIndexName,
  primaryKeyName,
  receiptIndexName,
  type TableNames,
  tableNames,
} from '../prisma/table-names.js'

/** The databases that models are written for, as the datasource of a Prisma schema spells them. */
export const modelTypes: readonly ModelTypes[] = [sqliteModelTypes, postgresqlModelTypes, mysqlModelTypes]

/** What to write models for. */
interface ModelsOptions {
  readonly types: ModelTypes
  /** The names of the applications; an empty one has tables without a prefix. */
  readonly applications: readonly string[]
  /** Default `uuid`. */
  readonly originatorIdType?: OriginatorIdType
  /** The PostgreSQL schema that the tables are in; default: none is written. */
  readonly schema?: string
}

/** A model as a schema has it. */
export interface RenderedModel {
  readonly name: string
  readonly text: string
}

/** Writes all models, as one text. @throws as `renderedModels` does */
export function renderModels(options: ModelsOptions): string {
  return renderedModels(options)
    .map(({ text }) => text)
    .join('\n')
}

/**
 * Writes the models, formatted as `prisma format` does.
 *
 * @throws `ProgrammingError` for a name that makes no table or no model, and when two applications ask for one name
 */
export function renderedModels(options: ModelsOptions): RenderedModel[] {
  const models = [
    ...options.applications.flatMap((name) => applicationModels(name, options)),
    idempotencyKeysModel(options),
  ]
  if (options.types.hasPositions) models.push(positionsModel(options))
  const taken = new Map<string, string>()
  for (const { name, table } of models) {
    for (const key of [`model ${name}`, `table ${table}`]) {
      if (taken.has(key))
        throw new ProgrammingError(`Could not write the models: the applications ask for ${key} twice. Rename one.`)
      taken.set(key, name)
    }
    checkIdentifier(table, `write model ${name}`, options.types.longestName)
  }
  return models.map((model) => ({ name: model.name, text: renderModel(model, options.schema) }))
}

interface Model {
  readonly name: string
  readonly table: string
  readonly comment: string
  readonly fields: ReadonlyArray<readonly [name: string, type: string]>
  readonly keys: readonly string[]
}

function applicationModels(application: string, options: ModelsOptions): Model[] {
  const { types } = options
  const tables = tableNames(application)
  const names = modelNames(application)
  const of = application === '' ? 'the application' : application
  return [
    {
      name: names.events,
      table: tables.events,
      comment: `The events of ${of}, in the order of the log. Written by eventsourcing-prisma only.`,
      fields: [['id', types.id.replace('@id', `@id${keyMap(tables.events, types)}`)], ...eventFields(options)],
      keys: [positionKey(tables.events, types)],
    },
    eventTagsModel(application, types),
    {
      name: names.snapshots,
      table: tables.snapshots,
      comment: `The snapshots of aggregates of ${of}. Written by eventsourcing-prisma only.`,
      fields: eventFields(options),
      keys: [`@@id([originatorId, originatorVersion]${keyMap(tables.snapshots, types, ', ')})`],
    },
    {
      name: names.tracking,
      table: tables.tracking,
      comment: `How far ${of} has processed the logs of others. Written by eventsourcing-prisma only.`,
      fields: [
        ['applicationName', `${types.applicationName} @id${keyMap(tables.tracking, types)}`],
        ['notificationId', 'BigInt'],
      ],
      keys: [],
    },
    subjectKeysModel(application, types),
    ...projectionModels(application, types),
    inboxModel(application, types),
    timersModel(application, types),
  ]
}

function eventTagsModel(application: string, types: ModelTypes): Model {
  const { eventTags: table } = tableNames(application)
  return {
    name: modelNames(application).eventTags,
    table,
    comment: `The tags of the events of ${application || 'the application'}. Written by eventsourcing-prisma only.`,
    fields: [
      ['tag', types.tag],
      ['notificationId', 'BigInt'],
    ],
    keys: [`@@id([tag, notificationId]${keyMap(table, types, ', ')})`],
  }
}

function projectionModels(application: string, types: ModelTypes): Model[] {
  const tables = tableNames(application)
  const names = modelNames(application)
  const of = application === '' ? 'the application' : application
  const written = 'Written by eventsourcing-prisma only.'
  const model = (part: ProjectionModelName, comment: string, fields: ModelFields, keys: string): Model => ({
    name: names[part],
    table: tables[part],
    comment: `${comment} ${written}`,
    fields: [['name', types.projectionName], ['version', 'Int'], ...fields],
    keys: [`@@id([name, version${keys}]${keyMap(tables[part], types, ', ')})`],
  })
  return [
    model(
      'projections',
      `How far the projections of ${of} have come, and who runs them.`,
      projectionFields(types),
      ', upstream, partition',
    ),
    model('projectionStates', `What the projections of ${of} are to do, and what they do.`, stateFields(types), ''),
    model('parkedEvents', `Events that projections of ${of} have put aside.`, parkedFields(types), ', notificationId'),
  ]
}

type ProjectionModelName = 'projections' | 'projectionStates' | 'parkedEvents'
type ModelFields = Model['fields']

function projectionFields(types: ModelTypes): ModelFields {
  return [
    ['upstream', types.projectionName],
    ['partition', 'Int'],
    ['partitions', 'Int'],
    ['position', 'BigInt'],
    ['epoch', 'BigInt'],
    ['owner', 'String?'],
    ['leasedUntil', types.recordedAt.replace('DateTime', 'DateTime?')],
  ]
}

function stateFields(types: ModelTypes): ModelFields {
  return [
    ['wanted', 'String'],
    ['status', 'String'],
    ['target', 'BigInt?'],
    ['reason', types.topic.replace('String', 'String?')],
    ['failedPosition', 'BigInt?'],
    ['updatedAt', `${types.recordedAt} @default(now())`],
  ]
}

function parkedFields(types: ModelTypes): ModelFields {
  return [
    ['notificationId', 'BigInt'],
    ['key', types.idempotencyKey],
    ['attempts', 'Int'],
    ['error', types.topic],
    ['parkedAt', `${types.recordedAt} @default(now())`],
  ]
}

function timersModel(application: string, types: ModelTypes): Model {
  const { timers: table } = tableNames(application)
  const index = dueIndexName(table, types.longestName)
  return {
    name: modelNames(application).timers,
    table,
    comment: `What is to be done later in ${application || 'the application'}. Written by eventsourcing-prisma only.`,
    fields: [
      ['id', `${types.idempotencyKey} @id${keyMap(table, types)}`],
      ['topic', types.idempotencyKey],
      ['dueAt', types.recordedAt],
      ['nextAt', types.recordedAt.replace('DateTime', 'DateTime?')],
      ['attempts', 'Int'],
      ['epoch', 'BigInt'],
      ['error', types.topic.replace('String', 'String?')],
      ['state', types.state],
    ],
    keys: [`@@index([nextAt]${index.isDefault ? '' : `, map: "${index.name}"`})`],
  }
}

function subjectKeysModel(application: string, types: ModelTypes): Model {
  const { subjectKeys: table } = tableNames(application)
  return {
    name: modelNames(application).subjectKeys,
    table,
    comment: `The keys of the persons whose data ${application || 'the application'} keeps. Written by eventsourcing-prisma only.`,
    fields: [
      ['subject', `${types.subject} @id${keyMap(table, types)}`],
      ['key', types.key],
      ['createdAt', `${types.recordedAt} @default(now())`],
    ],
    keys: [],
  }
}

function inboxModel(application: string, types: ModelTypes): Model {
  const { inbox: table } = tableNames(application)
  const { name, isDefault } = receiptIndexName(table, types.longestName)
  return {
    name: modelNames(application).inbox,
    table,
    comment: `The messages from elsewhere that ${application || 'the application'} has processed. Written by eventsourcing-prisma only.`,
    fields: [
      ['source', types.idempotencyKey],
      ['id', types.idempotencyKey],
      ['receivedAt', `${types.recordedAt} @default(now())`],
    ],
    keys: [
      `@@id([source, id]${keyMap(table, types, ', ')})`,
      `@@index([receivedAt]${isDefault ? '' : `, map: "${name}"`})`,
    ],
  }
}

function idempotencyKeysModel({ types }: ModelsOptions): Model {
  return {
    name: 'IdempotencyKey',
    table: 'idempotency_keys',
    comment:
      'The answers to requests with an idempotency key, until they expire. Written by eventsourcing-prisma only.',
    fields: [
      ['scope', types.idempotencyKey],
      ['key', types.idempotencyKey],
      ['fingerprint', types.fingerprint],
      ['status', 'Int'],
      ['headers', 'Json'],
      ['body', types.state],
      ['createdAt', `${types.recordedAt} @default(now())`],
      ['expiresAt', types.recordedAt],
    ],
    keys: ['@@id([scope, key])', '@@index([expiresAt])'],
  }
}

function positionsModel({ types }: ModelsOptions): Model {
  return {
    name: 'NotificationPosition',
    table: positionsTable,
    comment: 'The last notification id of each log. Written by eventsourcing-prisma only.',
    fields: [
      ['log', `String @id @db.VarChar(${types.longestName})`],
      ['notificationId', 'BigInt'],
    ],
    keys: [],
  }
}

function eventFields({ types, originatorIdType = 'uuid' }: ModelsOptions): Array<[string, string]> {
  return [
    ['originatorId', types.originatorId[originatorIdType]],
    ['originatorVersion', 'BigInt'],
    ['topic', types.topic],
    ['state', types.state],
    ['metadata', 'Json?'],
    ['recordedAt', `${types.recordedAt} @default(now())`],
  ]
}

function modelNames(application: string): Record<keyof TableNames, string> {
  if (application === '')
    return {
      events: 'StoredEvent',
      eventTags: 'StoredEventTag',
      snapshots: 'StoredSnapshot',
      tracking: 'NotificationTracking',
      subjectKeys: 'SubjectKey',
      projections: 'Projection',
      projectionStates: 'ProjectionState',
      parkedEvents: 'ParkedEvent',
      inbox: 'InboxMessage',
      timers: 'Timer',
    }
  const name = application.charAt(0).toUpperCase() + application.slice(1)
  if (!/^[A-Z]/.test(name)) {
    throw new ProgrammingError(
      `Could not write models for application '${application}': a model's name begins with a letter.`,
    )
  }
  return {
    events: `${name}Event`,
    eventTags: `${name}EventTag`,
    snapshots: `${name}Snapshot`,
    tracking: `${name}Tracking`,
    subjectKeys: `${name}SubjectKey`,
    projections: `${name}Projection`,
    projectionStates: `${name}ProjectionState`,
    parkedEvents: `${name}ParkedEvent`,
    inbox: `${name}InboxMessage`,
    timers: `${name}Timer`,
  }
}

function positionKey(table: string, { longestName }: ModelTypes): string {
  const { name, isDefault } = positionIndexName(table, longestName)
  return `@@unique([originatorId, originatorVersion]${isDefault ? '' : `, map: "${name}"`})`
}

/** The name of a primary key, where Prisma would cut it: in parentheses, or after what is already inside of them. */
function keyMap(table: string, { namesPrimaryKeys, longestName }: ModelTypes, separator?: string): string {
  const { name, isDefault } = primaryKeyName(table, longestName)
  if (!namesPrimaryKeys || isDefault) return ''
  return separator === undefined ? `(map: "${name}")` : `${separator}map: "${name}"`
}

function renderModel({ name, table, comment, fields, keys }: Model, schema: string | undefined): string {
  const rows = fields.map(([field, type]) => {
    const column = field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
    const [base = '', ...attributes] = type.split(/ (?=@)/)
    if (column !== field) attributes.push(`@map("${column}")`)
    return { field, base, attributes: attributes.sort((a, b) => rank(a) - rank(b)).join(' ') }
  })
  const fieldWidth = Math.max(...rows.map(({ field }) => field.length))
  const typeWidth = Math.max(...rows.map(({ base }) => base.length))
  const lines = rows.map(({ field, base, attributes }) =>
    `  ${field.padEnd(fieldWidth)} ${base.padEnd(typeWidth)} ${attributes}`.trimEnd(),
  )
  const block = [...keys, `@@map("${table}")`, ...(schema === undefined ? [] : [`@@schema("${schema}")`])]
  return `/// ${comment}\nmodel ${name} {\n${lines.join('\n')}\n\n${block.map((line) => `  ${line}\n`).join('')}}\n`
}

/** The order in which people write attributes: the key and the default, the column's name, the column's type. */
function rank(attribute: string): number {
  if (attribute.startsWith('@db.')) return 2
  return attribute.startsWith('@map') ? 1 : 0
}

/** Which tables. */
interface SqlOptions {
  readonly dialect: Dialect
  /** The names of the applications; an empty one has tables without a prefix. */
  readonly applications: readonly string[]
  readonly originatorIdType: OriginatorIdType
  /** The PostgreSQL schema of the tables; default: the connection's. */
  readonly schema: string | undefined
}

/** The statements that make a view of each table of events and snapshots, in which states are JSON. */
export function viewsSql({ dialect, applications, schema }: Omit<SqlOptions, 'originatorIdType'>): string {
  const statements = applications.flatMap((application) => {
    const { events, snapshots } = tableNames(application)
    return [
      ...dialect.readableView({ name: events, schema, withLog: true }),
      ...dialect.readableView({ name: snapshots, schema, withLog: false }),
    ]
  })
  return `-- Written by: npx eventsourcing-prisma\n\n${[...new Set(statements)].join(';\n\n')};\n`
}

/** The statements, each with its end, as the file of a migration has them. All are harmless where the tables exist. */
export function tablesSql({ dialect, applications, originatorIdType, schema }: SqlOptions): string {
  const statements = applications.flatMap((application) => {
    const names = tableNames(application)
    const events = { schema, originatorIdType, notifies: false }
    return [
      dialect.eventsTable({ ...events, name: names.events, tags: names.eventTags, withLog: true }),
      dialect.eventsTable({ ...events, name: names.snapshots, withLog: false }),
      dialect.trackingTable({ name: names.tracking, schema }),
      dialect.subjectKeysTable({ name: names.subjectKeys, schema }),
      dialect.projectionTables({ names, schema }),
      dialect.inboxTable({ name: names.inbox, schema }),
      dialect.timersTable({ name: names.timers, schema, notifies: false }),
    ].flatMap(({ createStatements }) => createStatements)
  })
  const shared = dialect.idempotencyKeysTable({ name: 'idempotency_keys', schema }).createStatements
  const all = [...new Set([...statements, ...shared])].map((sql) => sql.trim().replace(/;$/, ''))
  return `-- Written by: npx eventsourcing-prisma sql\n\n${all.join(';\n\n')};\n`
}
