/** The page of the browser of events in a real browser: what it shows, by mouse and by keyboard, in light and dark, wide and narrow. */
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import axe from 'axe-core'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { root } from '../../scripts/install.mjs'
import type { ProjectionRunner } from '../../src/index.js'
import { type OpenDatabase, openDatabase } from '../prisma/open-database.js'
import { warnings } from '../prisma/warnings.js'
import { databasesOf } from '../support/databases.js'
import { accounts, Dog, failingRunner, Kennel } from './kennel.js'
import { type Running, servers } from './servers.js'

const executablePath = process.env['TEST_CHROMIUM'] ?? '/usr/bin/chromium'
const isInstalled = existsSync(executablePath)
if (!isInstalled && process.env['CI'] !== undefined) {
  throw new Error(
    `There is no Chromium at ${executablePath}: apt-get install chromium, or say where it is by TEST_CHROMIUM.`,
  )
}
const title = isInstalled ? 'the page' : `the page (skipped: no Chromium at ${executablePath}, see TEST_CHROMIUM)`

/** Where pictures are written, when they are asked for: `TEST_SCREENSHOTS=docs/images npx vitest run test/browser/page.test.ts`. */
const pictures = process.env['TEST_SCREENSHOTS']
const secret = 'Ann Archer of Aberdeen'

describe.skipIf(!isInstalled)(title, () => {
  let folder: string
  let browser: Browser
  let open: OpenDatabase
  let kennel: Kennel
  let running: Running
  let fido: Dog
  let runner: ProjectionRunner

  beforeAll(async () => {
    const [sqlite] = databasesOf('sqlite')
    const [, start] = servers[0] ?? []
    if (sqlite === undefined || start === undefined) throw new Error('there is no SQLite, or no server')
    folder = await mkdtemp(join(tmpdir(), 'browser-'))
    browser = await chromium.launch({
      executablePath,
      headless: true,
      args: ['no-sandbox', 'disable-gpu', 'disable-quic', 'no-first-run', 'disable-background-networking']
        .concat('disable-component-update', 'disable-sync')
        .map((flag) => `--${flag}`),
    })
    open = await openDatabase(sqlite)
    kennel = new Kennel({ datastore: open.datastore, env: { CREATE_TABLE: 'yes' } })
    fido = await kennel.fill('Fido', secret)
    for (const name of ['Rex', 'Bella', 'Luna']) await kennel.fill(name, secret)
    for (const amount of [7, 5, -3])
      await kennel.execute(accounts, 'a0000000-0000-4000-8000-000000000001', 'change', amount)
    const { datastore } = open
    runner = failingRunner(kennel, datastore)
    const options = { application: kennel, kinds: { Dog, accounts }, datastore, runner, allowChanges: true }
    running = await start({ ...options, authorize: () => true }, datastore)
    const { stop } = warnings('ES_PROJECTION_BLOCKED')
    fido.addTrick('bite')
    await kennel.save(fido)
    await runner.start()
    await vi.waitFor(() => expect(runner.stats['tricks']?.state).toBe('blocked'), { timeout: 20_000 })
    stop()
  })

  afterAll(async () => {
    await browser?.close()
    await runner?.stop()
    await running?.close()
    await open?.close()
    await rm(folder, { recursive: true, force: true })
  })

  /** Opens the page, and fails for what the browser complains of, such as the policy that forbids foreign scripts. */
  const opened = async (path: string, options: Parameters<Browser['newContext']>[0] = {}) => {
    const context: BrowserContext = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })
    const page = await context.newPage()
    const complaints: string[] = []
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text())
    })
    page.on('pageerror', (error) => complaints.push(String(error)))
    await page.goto(`${running.url}/${path}`)
    await page.locator('h1').waitFor()
    return {
      page,
      close: async (): Promise<void> => {
        await context.close()
        expect(complaints).toEqual([])
      },
    }
  }

  const settled = async (page: Page): Promise<void> => {
    await page.locator('main', { hasNotText: 'Loading…' }).waitFor()
    await page.waitForFunction(() => !/Loading…|Searching…/.test(document.body.textContent ?? ''))
  }

  const addresses = (): ReadonlyArray<readonly [name: string, path: string]> => [
    ['kinds', ''],
    ['streams', '#/kind/Dog'],
    ['stream', `#/stream/${fido.id}?version=3`],
    ['event', '#/event/2'],
    ['related', '#/related?name=correlationId&value=request-1&from=1'],
    ['log', '#/log'],
    ['projections', '#/projections'],
    ['activity', '#/activity'],
  ]

  it.runIf(pictures !== undefined)('is drawn', { timeout: 180_000 }, async () => {
    const target = join(root, pictures ?? '')
    await mkdir(target, { recursive: true })
    const narrow = { viewport: { width: 390, height: 844 } }
    const wide = { viewport: { width: 1280, height: 800 } }
    const looks = { light: wide, dark: { ...wide, colorScheme: 'dark' }, narrow } as const
    for (const [name, path] of addresses().filter(([name]) => name === 'stream' || name === 'projections')) {
      for (const [look, options] of Object.entries(looks)) {
        if (name === 'projections' && look !== 'light') continue
        const { page, close } = await opened(path, options)
        await settled(page)
        await page.waitForTimeout(500)
        await page.screenshot({ path: join(target, `browser-${name}-${look}.png`) })
        await close()
      }
    }
  })

  it('leads from kinds to streams, to events and states', async () => {
    const { page, close } = await opened('')
    await page.getByRole('link', { name: 'Dog', exact: true }).click()
    await page.getByRole('link', { name: fido.id }).click()
    await page.getByRole('heading', { name: `Stream ${fido.id}` }).waitFor()
    await page.getByText('Version 5 of 5').waitFor()
    expect(await page.locator('.timeline .events > li').count()).toBe(5)
    await expect.poll(async () => await page.locator('.changes').textContent()).toContain('tricks.3–"bite"')
    await page.getByRole('link', { name: 'State at version 2' }).click()
    await expect.poll(async () => await page.locator('.changes').textContent()).toContain('tricks.0–"roll over"')
    expect(page.url()).toContain('version=2')
    await page.getByRole('link', { name: 'Kennel/1' }).first().click()
    await page.getByRole('heading', { name: 'Event 1', exact: true }).waitFor()
    await page.getByRole('link', { name: 'What has followed' }).click()
    await page.getByText('2 found, up to the end of the log.').waitFor()
    await close()
  })

  it('shows personal data as hidden', async () => {
    const { page, close } = await opened(`#/stream/${fido.id}`)
    await page.getByText('Snapshots').click()
    await page.getByText('Snapshot at version 3').waitFor()
    await expect.poll(async () => await page.locator('.mark').allTextContents()).toContain('hidden')
    expect(await page.content()).not.toContain(secret)
    await close()
  })

  it('finds a stream by its id, and an event by its position', async () => {
    const { page, close } = await opened('')
    await page.getByRole('searchbox').fill(fido.id)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: `Stream ${fido.id}` }).waitFor()
    await page.getByRole('searchbox').fill('2')
    await page.getByRole('button', { name: 'Find' }).click()
    await page.getByRole('heading', { name: 'Event 2', exact: true }).waitFor()
    await close()
  })

  it('adds to the log what is stored meanwhile', async () => {
    const { page, close } = await opened('#/log')
    await page.getByText('live', { exact: true }).waitFor()
    await kennel.save(new Dog('Newcomer', secret))
    await page.getByText('"Newcomer"').waitFor()
    await close()
  })

  it('shows projections, and lets them rest and pass over an event', async () => {
    const { page, close } = await opened('#/projections')
    const tricks = page.getByRole('region', { name: 'tricks' })
    await tricks.getByText('no such trick').waitFor()
    await page.getByRole('region', { name: 'lenient' }).getByText('1 put aside').waitFor()
    await tricks.getByRole('button', { name: 'Pause' }).focus()
    await page.keyboard.press('Enter')
    await tricks.getByRole('button', { name: 'Resume' }).click()
    await tricks.getByRole('button', { name: 'Pause' }).waitFor()
    page.on('dialog', (dialog) => void dialog.accept())
    await tricks.getByRole('button', { name: /Pass over event/ }).click()
    await tricks.getByText('live', { exact: true }).waitFor()
    await close()
  })

  it('draws what the transactions have come to', async () => {
    const { page, close } = await opened('#/activity')
    await page.getByRole('img', { name: /Transactions per second/ }).waitFor()
    await close()
  })

  it('is walked through by the keyboard, with a focus that can be seen', async () => {
    const { page, close } = await opened(`#/stream/${fido.id}`)
    await page.getByText('Version 5 of 5').waitFor()
    await settled(page)
    const reached: string[] = []
    for (let step = 0; step < 60; step += 1) {
      await page.keyboard.press('Tab')
      const focused = await page.evaluate(() => {
        const element = document.activeElement
        if (element === null || element === document.body) return undefined
        const { outlineStyle, outlineWidth } = getComputedStyle(element)
        const isSeen = outlineStyle !== 'none' && Number.parseFloat(outlineWidth) >= 2
        return { name: `${element.tagName} ${element.id || element.textContent}`, isSeen }
      })
      if (focused === undefined) break
      expect(focused).toMatchObject({ isSeen: true })
      reached.push(focused.name)
    }
    const controls = await page.evaluate(
      () =>
        [...document.querySelectorAll('a[href], button:not([disabled]), input, summary')].filter((e) =>
          e.checkVisibility(),
        ).length,
    )
    expect(reached.length).toBeGreaterThanOrEqual(controls)
    expect(reached[0]).toContain('Skip to the content')
    await page.locator('#version').focus()
    await page.keyboard.press('ArrowLeft')
    await page.getByText('Version 4 of 5').waitFor()
    await page.keyboard.press('Home')
    await page.getByText('Version 1 of 5').waitFor()
    await expect.poll(async () => await page.locator('.changes').textContent()).toContain('name–"Fido"')
    await close()
  })

  it.each(['light', 'dark'] as const)(
    'has nothing that axe-core objects to, in %s',
    { timeout: 180_000 },
    async (colorScheme) => {
      for (const [name, path] of addresses()) {
        const { page, close } = await opened(path, { colorScheme, bypassCSP: true })
        await settled(page)
        await page.addScriptTag({ content: axe.source })
        const violations = await page.evaluate(async () => {
          const { axe } = globalThis as unknown as {
            axe: { run(): Promise<{ violations: Array<{ id: string; nodes: Array<{ html: string }> }> }> }
          }
          const { violations } = await axe.run()
          return violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)])
        })
        expect([name, violations]).toEqual([name, []])
        await close()
      }
    },
  )

  it('fits a narrow screen', { timeout: 120_000 }, async () => {
    for (const [name, path] of addresses()) {
      const { page, close } = await opened(path, { viewport: { width: 390, height: 844 } })
      await settled(page)
      const widths = await page.evaluate(() => [
        document.documentElement.scrollWidth,
        document.documentElement.clientWidth,
      ])
      expect([name, widths]).toEqual([name, [390, 390]])
      await close()
    }
  })
})
