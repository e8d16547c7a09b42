/** Adapters whose pools are small. */
import { PrismaMariaDb } from '@prisma/adapter-mariadb'
import { PrismaPg } from '@prisma/adapter-pg'
import type { Adapter, TestDatabaseKind } from './databases.js'

/** An adapter whose pool has so many connections. */
export function adapterOf({ provider }: TestDatabaseKind, url: string, poolSize: number): Adapter {
  if (provider === 'postgresql') return new PrismaPg({ connectionString: url, max: poolSize })
  return new PrismaMariaDb(`${url}?connectionLimit=${poolSize}`)
}
