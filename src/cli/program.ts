/** The commands of the command line, their options and what they print. */
import { Command, CommanderError, Option } from 'commander'
import { EnvironmentError } from '../errors.js'
import type { OriginatorIdType } from '../prisma/dialect.js'
import { init } from './init.js'
import { migrate } from './migrate.js'
import { modelTypes } from './schema-models.js'
import { verifyAll } from './verify-snapshots.js'

/** Where a command prints to. */
export interface Output {
  /** Takes a line about what was done. */
  readonly print: (line: string) => void
  /** Takes a line about what went wrong. */
  readonly complain: (line: string) => void
}

interface InitFlags {
  readonly app?: string[]
  readonly provider?: string
  readonly schema?: string
  readonly originatorIdType?: OriginatorIdType
  readonly postgresSchema?: string
}

interface VerifyFlags {
  readonly application: string
  readonly kind: string[]
}

interface MigrateFlags {
  readonly url?: string
  readonly migrations: string
}

/**
 * Runs one command.
 *
 * @param args - without the program and the script
 * @returns the exit code: 0 done, or nothing to do; 1 otherwise, after a line that says why
 */
export async function run(args: readonly string[], output: Output): Promise<number> {
  try {
    await program(output).parseAsync(args, { from: 'user' })
    return 0
  } catch (error) {
    // It has printed by itself, and ends with 0 after --help.
    if (error instanceof CommanderError) return error.exitCode
    output.complain(`Error: ${error instanceof Error ? error.message : String(error)}`)
    return 1
  }
}

function program(output: Output): Command {
  const command = new Command('eventsourcing-prisma')
    .description('Tables for event sourcing in the database of your Prisma schema')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.print(text.trimEnd()),
      writeErr: (text) => output.complain(text.trimEnd()),
    })
  addInit(command, output)
  addMigrate(command, output)
  addVerifySnapshots(command, output)
  return command
}

function addInit(command: Command, output: Output): void {
  command
    .command('init')
    .description('write the models of the tables into your Prisma schema, as eventsourcing.prisma')
    .option(
      '--app <name...>',
      'applications that get tables of their own, named after them (default: tables without a prefix)',
    )
    .addOption(
      new Option('--provider <provider>', 'the database (default: that of the datasource in your schema)').choices(
        modelTypes.map(({ provider }) => provider),
      ),
    )
    .option('--schema <folder>', 'the folder of your multi-file schema (default: prisma/schema, or prisma)')
    .addOption(
      new Option(
        '--originator-id-type <type>',
        'the type of the ids of aggregates on PostgreSQL (default: uuid)',
      ).choices(['uuid', 'text']),
    )
    .option('--postgres-schema <name>', 'the PostgreSQL schema of the tables')
    .action(async (flags: InitFlags) => await runInit(flags, output))
}

function addMigrate(command: Command, output: Output): void {
  command
    .command('migrate')
    .description(
      'apply a folder of migrations without the native engine of Prisma; prisma migrate deploy accepts the history',
    )
    .option('--url <url>', 'the database: file:, postgresql: or mysql: (default: PRISMA_URL, then DATABASE_URL)')
    .option('--migrations <folder>', 'the folder of the migrations', 'prisma/migrations')
    .action(async (flags: MigrateFlags) => await runMigrate(flags, output))
}

function addVerifySnapshots(command: Command, output: Output): void {
  command
    .command('verify-snapshots')
    .description('compare the stored snapshots of an application with what its events say')
    .requiredOption('--application <topic>', 'an application, such as ./dist/app.js#school')
    .requiredOption('--kind <topic...>', 'classes of aggregates or deciders, such as ./dist/dogs.js#Dog')
    .action(async ({ application, kind }: VerifyFlags) => {
      const count = await verifyAll({ application, kinds: kind }, output.print)
      if (count > 0) {
        throw new EnvironmentError(
          `${count} snapshots say something else than the events: give the snapshots of what has changed another revision.`,
        )
      }
    })
}

async function runInit(
  { app, schema, provider, originatorIdType, postgresSchema }: InitFlags,
  output: Output,
): Promise<void> {
  const { file, written } = await init({
    ...(app === undefined ? {} : { applications: app }),
    ...(schema === undefined ? {} : { schema }),
    ...(provider === undefined ? {} : { provider }),
    ...(originatorIdType === undefined ? {} : { originatorIdType }),
    ...(postgresSchema === undefined ? {} : { postgresSchema }),
  })
  if (!written) {
    output.print(`${file} is up to date: nothing to do.`)
    return
  }
  output.print(`Wrote ${file}. The schema in your prisma.config.ts must be its folder, not a single file.`)
  if (postgresSchema !== undefined) output.print(`Name "${postgresSchema}" in the list "schemas" of your datasource.`)
  output.print('Next: npx prisma migrate dev --name eventsourcing')
}

async function runMigrate({ url, migrations }: MigrateFlags, output: Output): Promise<void> {
  const database = url ?? (process.env['PRISMA_URL'] || process.env['DATABASE_URL'])
  if (database === undefined || database === '') {
    throw new EnvironmentError(
      'Could not apply the migrations: name the database with --url, PRISMA_URL or DATABASE_URL.',
    )
  }
  const onApplied = (name: string): void => output.print(`Applied ${name}`)
  const applied = await migrate({ url: database, migrations, onApplied })
  if (applied.length === 0) output.print('No pending migrations: nothing to do.')
}
