/** The tables that every test database has: those of the library, and those of the user's models in the test schema. */
import * as mariadb from '../../src/prisma/dialects/mariadb-tables.js'
import * as postgresql from '../../src/prisma/dialects/postgresql-tables.js'
import * as sqlite from '../../src/prisma/dialects/sqlite-tables.js'

const libraries = { postgresql, sqlite, mysql: mariadb }

const models = {
  postgresql: [
    'CREATE TABLE owners (id SERIAL PRIMARY KEY, name TEXT NOT NULL, dog TEXT NOT NULL UNIQUE)',
    'CREATE TABLE toys (id SERIAL PRIMARY KEY, name TEXT NOT NULL, owner_id INT NOT NULL REFERENCES owners (id))',
    'CREATE TABLE sessions (id TEXT PRIMARY KEY, sid TEXT NOT NULL UNIQUE, data TEXT NOT NULL, expires_at TIMESTAMP(3) NOT NULL)',
    'CREATE TABLE trick_counts (dog TEXT PRIMARY KEY, name TEXT NOT NULL, tricks INT NOT NULL)',
  ],
  sqlite: [
    'CREATE TABLE owners (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, dog TEXT NOT NULL UNIQUE)',
    'CREATE TABLE toys (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, owner_id INTEGER NOT NULL REFERENCES owners (id))',
    'CREATE TABLE sessions (id TEXT PRIMARY KEY, sid TEXT NOT NULL UNIQUE, data TEXT NOT NULL, expires_at DATETIME NOT NULL)',
    'CREATE TABLE trick_counts (dog TEXT PRIMARY KEY, name TEXT NOT NULL, tricks INTEGER NOT NULL)',
  ],
  mysql: [
    'CREATE TABLE owners (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(191) NOT NULL, dog VARCHAR(191) NOT NULL UNIQUE)',
    'CREATE TABLE toys (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(191) NOT NULL, owner_id INT NOT NULL, FOREIGN KEY (owner_id) REFERENCES owners (id))',
    'CREATE TABLE sessions (id VARCHAR(191) PRIMARY KEY, sid VARCHAR(191) NOT NULL UNIQUE, data TEXT NOT NULL, expires_at DATETIME(3) NOT NULL)',
    'CREATE TABLE trick_counts (dog VARCHAR(191) PRIMARY KEY, name VARCHAR(191) NOT NULL, tricks INT NOT NULL)',
  ],
}

/** The statements that make them. */
export function tableStatements(provider: keyof typeof models): string[] {
  const library = libraries[provider]
  return [
    ...models[provider],
    ...library.eventsTableStatements('stored_events'),
    ...library.tagsTableStatements('stored_event_tags'),
    ...library.snapshotsTableStatements('stored_snapshots'),
    ...library.trackingTableStatements('notification_tracking'),
    ...library.subjectKeysTableStatements('subject_keys'),
    ...library.idempotencyKeysTableStatements('idempotency_keys'),
    ...library.inboxTableStatements('inbox_messages'),
    ...library.eventsTableStatements('trainingschool_events'),
    ...library.tagsTableStatements('trainingschool_event_tags'),
  ]
}
