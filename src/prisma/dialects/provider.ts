/** The databases by the names that Prisma's driver adapters give them. */

/** `sqlserver` exists as an adapter and is not supported here. */
export type DriverProvider = 'mysql' | 'postgres' | 'sqlite' | 'sqlserver'
