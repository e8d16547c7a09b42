/** A page with the list of all dogs, from the rows of a projection. Whoever adds a dog finds it on the page that comes next. */
import type { ProjectionRunner } from 'eventsourcing-prisma'
import { problemDetails, projectionHealth, transactions, upToDate } from 'eventsourcing-prisma/express'
import express, { type Express } from 'express'
import type { Database } from './db.js'

/** Makes the server; neither it nor the runner is started. */
export function listPage({ datastore, db, school }: Database, runner: ProjectionRunner): Express {
  const app = express()
  app.use(express.urlencoded({ extended: false }))
  app.get('/health/projections', projectionHealth(runner))
  // The browser brings the cookie with the page that a redirect leads to.
  app.use(transactions(datastore, { cookie: true }))

  app.get('/', upToDate(runner, ['dog-list'], { waitMs: 5_000 }), async (_request, response) => {
    const dogs = await db.listedDog.findMany({ orderBy: { name: 'asc' }, take: 100 })
    const lines = dogs.map(({ name, tricks }) => `<li>${escaped(name)} (${tricks})${trickForm(name)}</li>`)
    response.send(`<!doctype html><title>Dogs</title><h1>Dogs</h1><ul>${lines.join('')}</ul>${dogForm}`)
  })

  app.post('/dogs', async (request, response) => {
    await school.register(request.body.name)
    response.redirect(303, '/')
  })

  app.post('/tricks', async (request, response) => {
    await school.addTrick(request.body.name, request.body.trick)
    response.redirect(303, '/')
  })

  app.use(problemDetails())
  return app
}

const dogForm = '<form method="post" action="/dogs"><input name="name" required><button>Add a dog</button></form>'

function trickForm(name: string): string {
  const dog = `<input type="hidden" name="name" value="${escaped(name)}">`
  return `<form method="post" action="/tricks">${dog}<input name="trick" required><button>Add a trick</button></form>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
