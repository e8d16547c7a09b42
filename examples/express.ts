/** The training school behind Express: each request is one transaction. */
import { problemDetails, transactions } from 'eventsourcing-prisma/express'
import express, { type Express } from 'express'
import type { Database } from './db.js'

/** Makes the server; it does not listen yet. */
export function expressServer({ datastore, db, school }: Database): Express {
  const app = express()
  app.use(express.json())
  app.use(transactions(datastore))

  app.post('/dogs', async (request, response) => {
    const { name, owner } = request.body
    await school.register(name)
    await db.owner.create({ data: { name: owner, dog: name } })
    response.status(201).json({ name, owner })
  })

  app.post('/dogs/:name/tricks', async (request, response) => {
    const { name } = request.params
    await school.addTrick(name, request.body.trick)
    await db.owner.update({ where: { dog: name }, data: { treats: { increment: 1 } } })
    response.json({ tricks: await school.getTricks(name) })
  })

  app.get('/dogs/:name', async (request, response) => {
    const { name } = request.params
    response.json({
      name,
      tricks: await school.getTricks(name),
      owner: await db.owner.findUnique({ where: { dog: name } }),
    })
  })

  // Everything is done, and then it fails: nothing of it may stay.
  app.post('/failing', async (request) => {
    const { name, owner } = request.body
    await school.register(name)
    await db.owner.create({ data: { name: owner, dog: name } })
    throw new Error('The dog ran away')
  })

  app.use(problemDetails())
  return app
}
