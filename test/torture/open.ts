/** Opens the database of a torture run in one of its processes. */
import { createRequire } from 'node:module'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import pg from 'pg'
import { PrismaDatastore } from '../../src/index.js'
import type { Adapter } from '../support/databases.js'
import type { TorturePlan, WorkerPlan } from './plan.js'
import { unprotect } from './unprotected.js'

/** The datastore of a worker. */
export function openTortured(plan: WorkerPlan): PrismaDatastore {
  const datastore = new PrismaDatastore({
    adapter: adapterOf(plan),
    deadlineMs: 60_000,
    order: plan.order,
    ...(plan.role === 'listening' ? { listen: () => new pg.Client({ connectionString: plan.url }) } : {}),
    // Whoever writes has to notify for the one that listens.
    ...(plan.role === 'writer' && plan.provider === 'postgresql' ? { listen: neverConnected } : {}),
  })
  if (!plan.isProtected) unprotect(datastore)
  return datastore
}

/** The adapter of a worker, or of a server. */
export function adapterOf({ provider, database, url }: Pick<TorturePlan, 'provider' | 'database' | 'url'>): Adapter {
  if (provider === 'postgresql') return new PrismaPg({ connectionString: url })
  if (provider === 'mysql') return new PrismaMariaDb(url)
  if (database.includes('libsql')) return new PrismaLibSql({ url })
  const { PrismaBetterSqlite3 }: { PrismaBetterSqlite3: new (options: { url: string }) => Adapter } = createRequire(
    import.meta.url,
  )('@prisma/adapter-better-sqlite3')
  return new PrismaBetterSqlite3({ url })
}

function neverConnected(): never {
  throw new Error('a writer follows no log')
}
