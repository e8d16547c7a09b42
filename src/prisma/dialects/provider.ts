/** The databases by the names that Prisma's driver adapters give them. */

/** `sqlserver` exists as an adapter and is not supported here. */
export type DriverProvider = 'mysql' | 'postgres' | 'sqlite' | 'sqlserver'

/** Other names of the same: the schemes of URLs, and the providers as a Prisma schema spells them. */
export const providersByName: Readonly<Record<string, DriverProvider>> = {
  postgres: 'postgres',
  postgresql: 'postgres',
  sqlite: 'sqlite',
  file: 'sqlite',
  mysql: 'mysql',
  mariadb: 'mysql',
}
