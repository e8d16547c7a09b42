/** The training school behind Fastify: each request is one transaction. */
import { transactions } from 'eventsourcing-prisma/fastify'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Database } from './db.js'

interface Registration {
  readonly name: string
  readonly owner: string
}

/** Makes the server; it does not listen yet. */
export async function fastifyServer({ datastore, db, school }: Database): Promise<FastifyInstance> {
  const fastify = Fastify()
  await fastify.register(transactions, { datastore })

  fastify.post<{ Body: Registration }>('/dogs', async (request, reply) => {
    const { name, owner } = request.body
    await school.register(name)
    await db.owner.create({ data: { name: owner, dog: name } })
    return await reply.code(201).send({ name, owner })
  })

  fastify.post<{ Params: { name: string }; Body: { trick: string } }>('/dogs/:name/tricks', async (request) => {
    const { name } = request.params
    await school.addTrick(name, request.body.trick)
    await db.owner.update({ where: { dog: name }, data: { treats: { increment: 1 } } })
    return { tricks: await school.getTricks(name) }
  })

  fastify.get<{ Params: { name: string } }>('/dogs/:name', async (request) => {
    const { name } = request.params
    return { name, tricks: await school.getTricks(name), owner: await db.owner.findUnique({ where: { dog: name } }) }
  })

  // Everything is done, and then it fails: nothing of it may stay.
  fastify.post<{ Body: Registration }>('/failing', async (request) => {
    const { name, owner } = request.body
    await school.register(name)
    await db.owner.create({ data: { name: owner, dog: name } })
    throw new Error('The dog ran away')
  })

  return fastify
}
