/** A short torture of the request transaction: everything answered with success is stored, nothing else is, and no connection is left behind. */
import { randomInt } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { frameworks } from '../../http/servers.js'
import { databasesOf, oneOfEach, type TestDatabaseKind } from '../../support/databases.js'
import { type Mutation, mutations } from './plan.js'
import { faultsOf, tortureHttp } from './torture.js'

const seed = Number(process.env['TORTURE_SEED'] ?? randomInt(2 ** 31))
const told = `TORTURE_SEED=${seed}`

/** What there is none of. */
const nothing = {
  missing: [],
  torn: [],
  invented: [],
  misanswered: [],
  early: [],
  unhandled: [],
  leaks: [],
  growth: [],
}

// Each framework, and each kind of database; `npm run torture -- --http` runs any two of them.
const combinations = frameworks.flatMap(({ name: framework }, index) => {
  const kind = oneOfEach[index % oneOfEach.length]
  return kind === undefined ? [] : [{ kind, framework }]
})
describe.each(combinations)('$framework on $kind.name', ({ kind, framework }) => {
  it('keeps the promise of the request transaction under hostile requests', { timeout: 120_000 }, async () => {
    const result = await tortureHttp(kind, { framework, requests: 100, seed })
    expect(faultsOf(result), told).toEqual(nothing)
    expect(result.requests, told).toBe(200)
    expect(result.acknowledged, told).toBeGreaterThan(50)
  })
})

describe.each(databasesOf('postgresql'))('a server on $name', (kind) => {
  it.each(mutations)('is seen to %s', { timeout: 120_000 }, async (mutation) => {
    const faults = await faultsOfMutated(kind, mutation)
    expect(faults[findings[mutation]], told).not.toEqual([])
  })
})

const findings: Readonly<Record<Mutation, keyof typeof nothing>> = {
  'answer before the commit': 'missing',
  'commit what failed': 'invented',
  'forget to roll back': 'leaks',
}

async function faultsOfMutated(kind: TestDatabaseKind, mutation: Mutation) {
  return faultsOf(await tortureHttp(kind, { framework: 'Fastify 5', requests: 150, seed, mutation }))
}
