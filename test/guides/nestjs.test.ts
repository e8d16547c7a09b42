/** The guides for NestJS 12 and for migrating do what they say. */
import { expect, it } from 'vitest'
import { blocksOf, readDocument } from '../support/document-project.js'
import { describeNestGuide } from './nest-guide.js'

/** Uses what the guide for migrating says. */
const migrated = `
import 'reflect-metadata'
import { NestFactory } from '@nestjs/core'
import { Module } from '@nestjs/common'
import { PrismaLibSql } from '@prisma/adapter-libsql'
import { TransactionsModule } from 'eventsourcing-prisma/nestjs'
import { AccountsService } from './accounts.js'
import { fastify } from './fastify-server.js'
import { newDatastore, PrismaModule } from './prisma.module.js'
const datastore = newDatastore(new PrismaLibSql({ url: process.env['DATABASE_URL'] ?? '' }))
@Module({ imports: [TransactionsModule.forRoot({ datastore }), PrismaModule], providers: [AccountsService] })
class Root {}
const app = await NestFactory.createApplicationContext(Root, { logger: false })
const accounts = app.get(AccountsService)
const outcome = (promise: Promise<unknown>) => promise.then(() => 'done', () => 'failed')
// The second time the audit fails, whose name is taken, and with it what is around it.
const told = [await outcome(accounts.open('Ann', 'Rex')), await outcome(accounts.open('Ann', 'Fido'))]
const within = datastore.transaction(async () => {
  await accounts.open('Bea', 'Buster')
  throw new Error('undo')
})
told.push(await outcome(within))
const post = async (dog: string) =>
  (await fastify.inject({ method: 'POST', url: '/owners', payload: { name: 'Cem', dog } })).statusCode
console.log(JSON.stringify([...told, await post('Milo'), await post('Cerberus')]))
await fastify.close()
await app.close()
`

describeNestGuide('Nest 12', {
  files: new Map([...blocksOf(readDocument('docs/guides/migrating.md')), ['migrated.ts', migrated]]),
  more({ run, rows }) {
    it('what was migrated joins transactions, and rolls back with a status of 400 and above', async () => {
      expect(run('migrated')).toEqual(['done', 'failed', 'failed', 201, 409])
      expect(await rows('SELECT name, dog FROM "Owner" ORDER BY id')).toEqual([
        ['Ann', 'Rex'],
        ['audit', 'Ann'],
        ['Cem', 'Milo'],
      ])
    }, 120_000)
  },
})
