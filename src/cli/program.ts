/** The commands of the command line, their options and what they print; and what completes them in a shell. */

import { createRequire } from 'node:module'
import { Command, CommanderError, Option } from 'commander'
import { EnvironmentError } from '../errors.js'
import type { Dialect, OriginatorIdType } from '../prisma/dialect.js'
import { dialectOf } from '../prisma/dialects/by-provider.js'
import { providersByName } from '../prisma/driver.js'
import { tableNames } from '../prisma/table-names.js'
import { doctor, type Finding } from './doctor.js'
import { init, providerIn, typesOf } from './init.js'
import { addLogCommands } from './log-commands.js'
import { migrate, writeViews } from './migrations.js'
import { findSchema, type Output, type ProjectFlags, readConfig, readProject, storedUrlOf, urlOf } from './project.js'
import { addProjections } from './projection-commands.js'
import { modelTypes, tablesSql, viewsSql } from './schema-models.js'
import { addTags, verifyAll } from './verify-snapshots.js'

const urlDescription =
  'the database: file:, postgresql: or mysql: (default: PRISMA_URL, then the Prisma config, then DATABASE_URL; .env is read)'
const migrationsDescription =
  'the folder of the migrations (default: that of the Prisma config, then prisma/migrations)'

/** As shells tell of a program that has written to a pipe which nobody reads any more: 128 and the number of SIGPIPE. */
export const closedPipe = 141

interface InitFlags {
  readonly app?: string[]
  readonly provider?: string
  readonly schema?: string
  readonly originatorIdType?: OriginatorIdType
  readonly postgresSchema?: string
  readonly readable?: boolean
}

interface VerifyFlags {
  readonly application: string
  readonly kind: string[]
}

interface MigrateFlags {
  readonly url?: string
  readonly migrations?: string
  readonly resolve?: string
  readonly applied?: boolean
  readonly rolledBack?: boolean
}

interface DoctorFlags extends ProjectFlags {
  readonly app?: string[]
  readonly postgresSchema?: string
  readonly json?: boolean
}

/**
 * Runs one command.
 *
 * @param args - without the program and the script
 * @returns the exit code: 0 done, or nothing to do; 141 where nobody reads what it prints any more; 1 otherwise, after a line that says why
 */
export async function run(args: readonly string[], output: Output): Promise<number> {
  try {
    let exitCode = 0
    const end = (code: number): void => {
      exitCode = code
    }
    await program(output, end).parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // It has printed by itself, and ends with 0 after --help.
    if (error instanceof CommanderError) return error.exitCode
    // Who reads what it prints has read enough, such as `head`.
    if (error instanceof Error && 'code' in error && error.code === 'EPIPE') return closedPipe
    output.complain(`Error: ${error instanceof Error ? error.message : String(error)}`)
    return 1
  }
}

/** @param end - takes the exit code of a command that has found something */
function program(output: Output, end: (code: number) => void): Command {
  const command = new Command('eventsourcing-prisma')
    .description('Tables for event sourcing in the database of your Prisma schema')
    .version(ownVersion(), '--version', 'print the version of this package')
    // Commands have an option of that name as well.
    .enablePositionalOptions()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => output.print(text.trimEnd()),
      writeErr: (text) => output.complain(text.trimEnd()),
    })
  addInit(command, output)
  addSql(command, output)
  addMigrate(command, output)
  addDoctor(command, output, end)
  addVerifySnapshots(command, output)
  addProjections(command, output, end, urlDescription)
  addTags(command, output)
  addLogCommands(command, output, urlDescription)
  addCompletion(command, output)
  return command
}

function ownVersion(): string {
  // By its own name, so that it is found from the sources as well.
  const { version } = createRequire(import.meta.url)('eventsourcing-prisma/package.json') as {
    readonly version: string
  }
  return version
}

function addInit(command: Command, output: Output): void {
  const init = command
    .command('init')
    .description(
      'add the models of the tables to your Prisma schema: to its file, or as eventsourcing.prisma to its folder',
    )
  addTableOptions(init)
    .option(
      '--readable',
      'write a migration with views of the tables, in which states are JSON, once they are migrated',
    )
    .action(async (flags: InitFlags) => await (flags.readable === true ? runViews : runInit)(flags, output))
}

function addSql(command: Command, output: Output): void {
  const sql = command
    .command('sql')
    .description('print the statements that make the tables, for the file of a migration; nothing is connected')
  addTableOptions(sql)
    .option('--readable', 'the statements that make views of the tables, in which states are JSON')
    .action(async (flags: InitFlags) => await runSql(flags, output))
}

/** What tells which tables, and of which database. */
function addTableOptions(command: Command): Command {
  return command
    .option(
      '--app <name...>',
      'applications that get tables of their own, named after them (default: tables without a prefix)',
    )
    .addOption(
      new Option('--provider <provider>', 'the database (default: that of the datasource in your schema)').choices(
        modelTypes.map(({ provider }) => provider),
      ),
    )
    .option(
      '--schema <path>',
      'your schema: a file, or a folder of files (default: that of the Prisma config, then prisma/schema or prisma/schema.prisma)',
    )
    .addOption(
      new Option(
        '--originator-id-type <type>',
        'the type of the ids of aggregates on PostgreSQL (default: uuid)',
      ).choices(['uuid', 'text']),
    )
    .option('--postgres-schema <name>', 'the PostgreSQL schema of the tables')
}

function addMigrate(command: Command, output: Output): void {
  command
    .command('migrate')
    .description(
      'apply a folder of migrations without the native engine of Prisma; prisma migrate deploy accepts the history',
    )
    .option('--url <url>', urlDescription)
    .option('--migrations <folder>', migrationsDescription)
    .option('--resolve <migration>', 'say first that this migration, which has failed, was undone: it is applied again')
    .addOption(
      new Option('--applied', 'with --resolve: say that it is applied, by other means').conflicts('rolledBack'),
    )
    .option('--rolled-back', 'with --resolve: say that it was undone (the default)')
    .action(async (flags: MigrateFlags) => await runMigrate(flags, output))
}

function addDoctor(command: Command, output: Output, end: (code: number) => void): void {
  command
    .command('doctor')
    .description('look at the tables of a database, and say what is wrong with them and what to do')
    .option('--url <url>', urlDescription)
    .option('--app <name...>', 'the applications (default: tables without a prefix)')
    .option('--postgres-schema <name>', 'the PostgreSQL schema of the tables')
    .option('--migrations <folder>', migrationsDescription)
    .option('--json', 'print the findings as JSON')
    .action(async (flags: DoctorFlags) => end(await runDoctor(flags, output)))
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
  const config = await readConfig()
  const flags = {
    ...(app === undefined ? {} : { applications: app }),
    ...(schema === undefined ? {} : { schema }),
    ...(provider === undefined ? {} : { provider }),
    ...(originatorIdType === undefined ? {} : { originatorIdType }),
    ...(postgresSchema === undefined ? {} : { postgresSchema }),
  }
  const { file, isFolder, models } = await init(flags, config)
  if (models.length === 0) {
    output.print(`${file} is up to date: nothing to do.`)
    return
  }
  output.print(`Wrote ${models.length} models to ${file}.`)
  if (isFolder && config.schema === undefined) {
    output.print('The schema in your prisma.config.ts must be that folder, not a single file.')
  }
  if (postgresSchema !== undefined) output.print(`Name "${postgresSchema}" in the list "schemas" of your datasource.`)
  output.print('Next: npx prisma migrate dev --name eventsourcing')
}

async function runSql(flags: InitFlags, output: Output): Promise<void> {
  const { app: applications = [''], originatorIdType = 'uuid', postgresSchema: schema } = flags
  const dialect = await dialectFor(flags)
  const sql =
    flags.readable === true
      ? viewsSql({ dialect, applications, schema })
      : tablesSql({ dialect, applications, originatorIdType, schema })
  output.print(sql.trimEnd())
}

/** The database that is named, or that of the schema. */
async function dialectFor({ provider, schema }: InitFlags): Promise<Dialect> {
  const named = provider ?? providerIn(await findSchema(schema, await readConfig()))
  // The one for models refuses what is not supported.
  return dialectOf(providersByName[typesOf(named).provider] ?? named)
}

/** Writes a migration with the views of the tables. */
async function runViews(flags: InitFlags, output: Output): Promise<void> {
  const { app: applications = [''], postgresSchema: schema } = flags
  const { migrations } = await readProject({ url: '' })
  const sql = viewsSql({ dialect: await dialectFor(flags), applications, schema })
  const tables = applications.map((application) => tableNames(application).events)
  const written = await writeViews({ folder: migrations, tables, sql, now: new Date() })
  if (written === undefined) output.print(`A migration in ${migrations} makes these views: nothing to do.`)
  else output.print(`Wrote ${written}. Next: npx prisma migrate dev`)
}

async function runMigrate(
  { resolve: name, applied, rolledBack, ...flags }: MigrateFlags,
  output: Output,
): Promise<void> {
  if (name === undefined && (applied === true || rolledBack === true)) {
    throw new EnvironmentError('Could not apply the migrations: name the migration that is meant with --resolve.')
  }
  const project = await readProject(flags)
  const url = urlOf(project, 'apply the migrations')
  const onApplied = (migration: string): void => output.print(`Applied ${migration}`)
  const as = applied === true ? 'applied' : 'rolled back'
  const resolve = name === undefined ? {} : { resolve: { name, as } as const }
  const done = await migrate({ url, migrations: project.migrations, onApplied, ...resolve })
  if (name !== undefined) output.print(`Resolved ${name} as ${as}`)
  if (done.length === 0) output.print('No pending migrations: nothing to do.')
}

/** @returns the exit code */
async function runDoctor({ app, postgresSchema, json, ...flags }: DoctorFlags, output: Output): Promise<number> {
  const project = await readProject(flags)
  const findings = await doctor({
    url: await storedUrlOf(project, 'look at the database'),
    migrations: project.migrations,
    applications: app ?? [''],
    ...(postgresSchema === undefined ? {} : { schema: postgresSchema }),
  })
  const count = (status: Finding['status']): number => findings.filter((finding) => finding.status === status).length
  const [errors, warnings] = [count('error'), count('warning')]
  if (json === true) output.print(JSON.stringify({ ok: errors === 0, errors, warnings, findings }, undefined, 2))
  else {
    for (const { status, check, subject, message, cure } of findings) {
      output.print(`${marks[status]} ${check} (${subject}): ${message}${cure === undefined ? '' : `\n        ${cure}`}`)
    }
    output.print(`${errors} errors, ${warnings} warnings, ${count('ok')} in order`)
  }
  return errors === 0 ? 0 : 1
}

const marks: Readonly<Record<Finding['status'], string>> = { ok: 'ok     ', warning: 'WARNING', error: 'ERROR  ' }

/** The words that may follow a command. */
interface Place {
  /** The words up to there, such as `projections status`; empty for the program. */
  readonly path: string
  readonly words: readonly string[]
}

const shells = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
} as const

type Shell = keyof typeof shells

/** Adds `completion`. */
function addCompletion(command: Command, output: Output): void {
  command
    .command('completion')
    .description('print what completes these commands; such as: eval "$(npx eventsourcing-prisma completion)"')
    .addOption(new Option('--shell <shell>', 'the shell').choices(Object.keys(shells)).default('bash'))
    // One of its keys, as commander has checked.
    .action(({ shell }: { readonly shell: Shell }) => output.print(shells[shell](command.name(), placesOf(command))))
}

function placesOf(command: Command, path = ''): Place[] {
  const options = command.options.filter(({ hidden }) => !hidden).map(({ long, short }) => long ?? short ?? '')
  const names = command.commands.map((each) => each.name())
  const below = command.commands.flatMap((each) => placesOf(each, path === '' ? each.name() : `${path} ${each.name()}`))
  return [{ path, words: [...names, ...options, '--help'] }, ...below]
}

function bashScript(program: string, places: readonly Place[]): string {
  const name = functionName(program)
  return `${name}() {
    local path='' word
    for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
    done
    local words
    while :; do
        case "$path" in
${casesOf(places)}
            *) path="\${path% *}" ;;
        esac
    done
    COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
    [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F ${name} ${program}`
}

/** With the functions that zsh has for those of bash. */
function zshScript(program: string, places: readonly Place[]): string {
  return `autoload -U +X bashcompinit && bashcompinit\n${bashScript(program, places)}`
}

function fishScript(program: string, places: readonly Place[]): string {
  const lines = places.map(({ path, words }) => {
    const within = path === '' ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${path.split(' ').at(-1)}`
    return `complete -c ${program} -f -n '${within}' -a '${words.join(' ')}'`
  })
  return lines.join('\n')
}

function casesOf(places: readonly Place[]): string {
  return places.map(({ path, words }) => `            '${path}') words='${words.join(' ')}'; break ;;`).join('\n')
}

function functionName(program: string): string {
  return `_${program.replaceAll('-', '_')}`
}
