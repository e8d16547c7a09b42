/**
 * Counts how far the library's calls travel: `node scripts/paths.mjs [--list path] [--json]`.
 *
 * Each named function of a copy of the library reports when it is entered (arrow functions do not). A few pieces of work on SQLite
 * then show how many calls they make, in how many files, in how many stays (runs of calls in one file), and how many of the stays
 * are returns to a file that was visited before. `test/paths/paths.test.ts` holds the budgets.
 */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import ts from 'typescript'
import { root } from './install.mjs'

const { values } = parseArgs({ options: { list: { type: 'string' }, json: { type: 'boolean', default: false } } })
// Inside of the project, so that the copy finds its packages.
const copy = mkdtempSync(join(root, 'node_modules/.paths-'))
try {
  writeFileSync(join(copy, 'package.json'), '{"type":"module"}')
  copyCompiled(['src', 'adapters'], (text, file) => reporting(text, file))
  copyCompiled(['examples/generated'], (text) => text)
  const paths = await measurePaths()
  if (values.list !== undefined) console.log((paths[values.list] ?? []).join('\n'))
  else if (values.json) console.log(JSON.stringify(mapped(paths, countsOf)))
  else console.table(mapped(paths, countsOf))
} finally {
  rmSync(copy, { recursive: true, force: true })
}
process.exit(0)

function copyCompiled(folders, changed) {
  for (const folder of folders) {
    for (const name of readdirSync(join(root, folder), { recursive: true })) {
      if (!name.endsWith('.ts') || name.endsWith('.d.ts')) continue
      const file = join(folder, name)
      const { outputText } = ts.transpileModule(readFileSync(join(root, file), 'utf8'), {
        compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true },
      })
      const target = join(copy, file.replace(/\.ts$/, '.js'))
      mkdirSync(dirname(target), { recursive: true })
      writeFileSync(target, changed(outputText, file.replace(/\.ts$/, '')))
    }
  }
}

/** Makes each named function of a module report `file|owner.name` when it is entered. */
function reporting(text, file) {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true)
  const reports = []
  const visit = (node, outer) => {
    const owner = ts.isClassLike(node) ? (node.name?.getText() ?? outer) : outer
    if (ts.isFunctionLike(node) && !ts.isArrowFunction(node) && node.body !== undefined && ts.isBlock(node.body)) {
      const name = ts.isConstructorDeclaration(node) ? 'constructor' : (node.name?.getText() ?? 'anonymous')
      const label = `${file}|${owner === undefined ? '' : `${owner}.`}${name}`
      reports.push([entryOf(node), `globalThis.reportCall?.(${JSON.stringify(label)});`])
    }
    ts.forEachChild(node, (child) => visit(child, owner))
  }
  visit(tree, undefined)
  let result = text
  for (const [at, report] of reports.toReversed().sort((a, b) => b[0] - a[0]))
    result = result.slice(0, at) + report + result.slice(at)
  return result
}

/** A constructor has no `this` before it has called that of its base class. */
function entryOf(node) {
  const superCall = ts.isConstructorDeclaration(node)
    ? node.body.statements.find((statement) => statement.getText().startsWith('super('))
    : undefined
  return superCall?.getEnd() ?? node.body.getStart() + 1
}

async function measurePaths() {
  const load = async (file) => await import(pathToFileURL(join(copy, file)).href)
  const { Aggregate, Application, PrismaDatastore } = await load('src/index.js')
  const { transactions } = await load('adapters/fastify.js')
  const { PrismaClient } = await load('examples/generated/client.js')
  const { PrismaLibSql } = await import('@prisma/adapter-libsql')
  const { default: Fastify } = await import('fastify')

  const datastore = new PrismaDatastore({
    adapter: new PrismaLibSql({ url: `file:${join(copy, 'paths.db')}` }),
    client: (adapter) => new PrismaClient({ adapter }),
    // As it is outside of tests.
    onEscape: 'warn',
  })
  const db = datastore.client
  class Dog extends Aggregate {
    static topic = 'Dog'
    static events = {
      Registered({ name }) {
        this.name = name
        this.tricks = []
      },
      TrickAdded({ trick }) {
        this.tricks.push(trick)
      },
    }
  }
  const school = await new Application({ name: 'TrainingSchool', datastore }).ready()
  await school.recorder.createTable()
  await db.$executeRawUnsafe(
    'CREATE TABLE "Owner" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, dog TEXT NOT NULL UNIQUE, treats INTEGER NOT NULL DEFAULT 0)',
  )
  let count = 0
  const newName = () => {
    count += 1
    return `name ${count}`
  }
  const newDog = () => Dog.create('Registered', { name: newName() })
  const createRow = async () => await db.owner.create({ data: { name: 'Ada', dog: newName() } })
  const stored = newDog()
  stored.trigger('TrickAdded', { trick: 'sit' })
  await school.save(stored)

  const server = Fastify()
  await server.register(transactions, { datastore })
  server.get('/none', async () => ({ ok: true }))
  server.post('/event', async (_, reply) => {
    await school.save(newDog())
    return reply.code(201).send()
  })
  server.post('/both', async (_, reply) => {
    await school.save(newDog())
    await createRow()
    return reply.code(201).send()
  })
  const request = (method, url) => async () => {
    const { statusCode, body } = await server.inject({ method, url })
    if (statusCode >= 300) throw new Error(`${method} ${url}: ${statusCode} ${body}`)
  }

  const sent = /\.(query|execute)\w*$/
  const paths = {
    'request without database': await callsOf(request('GET', '/none')),
    'request with an event': await callsOf(request('POST', '/event')),
    'request with an event and a row': await callsOf(request('POST', '/both')),
    'save to INSERT': between(
      await callsOf(async () => await datastore.transaction(async () => await school.save(newDog()))),
      /\|Application\.save$/,
      sent,
    ),
    'save outside of transactions': await callsOf(async () => await school.save(newDog())),
    'model call to statement': between(
      await callsOf(async () => await datastore.transaction(createRow)),
      /^src\/prisma\/ambient-client\|/,
      sent,
    ),
    'SELECT to aggregate': between(
      await callsOf(async () => await school.repository.get(Dog, stored.id)),
      /\|Repository\.get$/,
      undefined,
    ),
  }
  await server.close()
  await datastore.close()
  return paths
}

/** The calls of a piece of work and of what it leaves to be done right after it: the fewest of a few warm rounds, as events of streams may come more than once. */
async function callsOf(work) {
  let fewest
  for (let round = 0; round < 10; round += 1) {
    const calls = []
    if (round >= 3) globalThis.reportCall = (call) => calls.push(call)
    await work()
    await setTimeout(10)
    globalThis.reportCall = undefined
    if (round >= 3 && (fewest === undefined || calls.length < fewest.length)) fewest = calls
  }
  return fewest
}

function between(calls, first, last) {
  const from = calls.findIndex((call) => first.test(call))
  const to = last === undefined ? calls.length - 1 : calls.findLastIndex((call) => last.test(call))
  if (from === -1 || to < from) throw new Error(`no calls between ${first} and ${last}`)
  return calls.slice(from, to + 1)
}

function countsOf(calls) {
  const files = calls.map((call) => call.split('|')[0])
  const stays = files.filter((file, index) => file !== files[index - 1])
  const different = new Set(files).size
  return { calls: calls.length, files: different, stays: stays.length, returns: stays.length - different }
}

function mapped(paths, change) {
  return Object.fromEntries(Object.entries(paths).map(([name, calls]) => [name, change(calls)]))
}
