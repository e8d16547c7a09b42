/** The examples of docs/guides/decisions-by-tags.md: they are what the document shows, and do what it says. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { School } from '../../examples/decisions/course-subscriptions.js'
import { Products } from '../../examples/decisions/dynamic-price.js'
import { Invoices } from '../../examples/decisions/invoice-number.js'
import { SignUps } from '../../examples/decisions/opt-in-token.js'
import { Orders } from '../../examples/decisions/prevent-duplicates.js'
import { Blog } from '../../examples/decisions/slug-to-id.js'
import { Accounts } from '../../examples/decisions/unique-username.js'
import { AppendConditionError, type ApplicationOptions } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { databases } from '../support/databases.js'
import { blocksOf, readDocument } from '../support/document-project.js'

const document = blocksOf(readDocument('docs/guides/decisions-by-tags.md'))

it.each([...document.keys()])('the document shows %s as it is', (file) => {
  expect(readFileSync(`examples/decisions/${file}`, 'utf8')).toBe(document.get(file))
})

it('has the six examples, and one more', () => {
  expect(document.size).toBe(7)
})

// SQLite is enough for what they say; PostgreSQL shows that they say it to many at once.
describe.each(databases.filter(({ name }) => /better-sqlite3|PostgreSQL/.test(name)))('on $name', (kind) => {
  let open: OpenDatabase
  let options: ApplicationOptions
  beforeAll(async () => {
    open = await openDatabase(kind)
    options = { name: '', datastore: open.datastore, env: { TAG_KEY: 'a key that is kept for ever' } }
  })
  afterAll(async () => {
    await open.close()
  })

  it('course subscriptions', async () => {
    const school = new School(options)
    await school.define('algebra', 1)
    await expect(school.define('algebra', 2)).rejects.toThrow('already')
    await school.subscribeStudent('algebra', 'ann')
    await school.subscribeStudent('algebra', 'ann')
    await expect(school.subscribeStudent('algebra', 'bob')).rejects.toThrow('full')
    await school.changeCapacity('algebra', 2)
    await school.subscribeStudent('algebra', 'bob')
    for (let number = 1; number <= 10; number += 1) {
      await school.define(`course ${number}`, 5)
      await (number < 10
        ? school.subscribeStudent(`course ${number}`, 'ann')
        : expect(school.subscribeStudent(`course ${number}`, 'ann')).rejects.toThrow('ten courses'))
    }
  })

  it('unique username', async () => {
    const accounts = new Accounts(options)
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => accounts.register('ann')))
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    await accounts.register('bob')
    await expect(accounts.rename('bob', 'ann')).rejects.toThrow('taken')
    await accounts.rename('ann', 'anna')
    await accounts.rename('bob', 'ann')
    await accounts.closeAccount('anna')
    await accounts.register('anna')
    await expect(accounts.rename('bob', 'x')).rejects.toThrow('Nobody')
  })

  it('invoice number', async () => {
    const invoices = new Invoices(options)
    const numbers = await Promise.all(Array.from({ length: 8 }, () => invoices.create(2026, 'ann', 100)))
    expect(numbers.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    expect(await invoices.create(2027, 'ann', 100)).toBe(1)
  })

  it('opt-in token', async () => {
    const signUps = new SignUps(options)
    await signUps.start('ann@example.org', 'token', 0)
    await expect(signUps.confirm('ann@example.org', 'other', 1)).rejects.toThrow('no such')
    await expect(signUps.confirm('ann@example.org', 'token', 3_600_001)).rejects.toThrow('too old')
    await signUps.confirm('ann@example.org', 'token', 1_000)
    await expect(signUps.confirm('ann@example.org', 'token', 1_001)).rejects.toThrow('used')
    const rows = await open.database.query(`SELECT tag FROM ${open.quoted('stored_event_tags')}`)
    const tags = rows.map(({ tag }) => String(tag)).filter((tag) => tag.startsWith('email:'))
    expect(tags).toHaveLength(2)
    expect(new Set(tags).size).toBe(1)
    expect(tags.join()).not.toContain('example')
  })

  it('dynamic price', async () => {
    const products = new Products(options)
    await products.setPrice('ball', 500, 0)
    await products.setPrice('bone', 200, 0)
    await Promise.all(Array.from({ length: 3 }, () => products.order([{ product: 'ball', shown: 500 }], 1)))
    await products.setPrice('ball', 600, 1_000)
    const both = [
      { product: 'ball', shown: 500 },
      { product: 'bone', shown: 200 },
    ]
    await products.order(both, 600_000)
    await expect(products.order(both, 602_000)).rejects.toThrow('price of ball has changed')
    await products.order([{ product: 'ball', shown: 600 }], 602_000)
  })

  it('duplicates', async () => {
    const orders = new Orders(options)
    await orders.place('ball', 'attempt 1')
    await expect(orders.place('ball', 'attempt 1')).rejects.toBeInstanceOf(AppendConditionError)
    await orders.place('ball', 'attempt 2')
  })

  it('from a slug to an id', async () => {
    const blog = new Blog(options)
    const written = await Promise.allSettled([blog.write('on-dogs', 'A'), blog.write('on-dogs', 'B')])
    expect(written.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    await blog.write('on-cats', 'C')
    await expect(blog.move('on-cats', 'on-dogs')).rejects.toBeInstanceOf(AppendConditionError)
    await blog.move('on-cats', 'on-lions')
    const [before, after] = [await blog.find('on-cats'), await blog.find('on-lions')]
    expect([before.id, before.title, before.slug]).toEqual([after.id, 'C', 'on-lions'])
    await expect(blog.write('on-cats', 'D')).rejects.toBeInstanceOf(AppendConditionError)
    await expect(blog.find('on-mice')).rejects.toThrow('no article')
  })
})
