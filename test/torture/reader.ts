/** Readers of a torture run: each only follows the log from its own position. */
import { once, setMaxListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Notification,
  PrismaApplicationRecorder,
  type PrismaDatastore,
  PrismaTrackingRecorder,
} from '../../src/index.js'
import { statement } from '../../src/prisma/driver.js'
import { engineOf } from '../../src/prisma/engine.js'
import { now, seenTable, type WorkerPlan } from './plan.js'
import type { Report } from './report-file.js'

/** So many that a reader that was killed comes back to the end of the log, where events can be lost. */
const batchSize = 2_000
const pollMs = 2

/** Reads until it is told to stop and has found nothing more. */
export async function read(
  plan: WorkerPlan,
  datastore: PrismaDatastore,
  report: Report,
  stop: AbortSignal,
): Promise<void> {
  const recorder = new PrismaApplicationRecorder(datastore)
  const seen = (notification: Notification): void => {
    report.line(notification.id, notification.originatorId, notification.originatorVersion, now())
  }
  if (plan.role === 'polling') await poll(recorder, seen, stop)
  else if (plan.role === 'restarting') await processLog(datastore, recorder, stop)
  else if (plan.role === 'crowd') await followTogether(recorder, seen, stop)
  else await follow(recorder, seen, stop)
}

/** How many subscriptions of one process are a crowd. */
const crowdSize = 100

/** An event is seen once all subscriptions have delivered it, and again whenever one delivers it twice or too late. */
async function followTogether(
  recorder: PrismaApplicationRecorder,
  seen: (notification: Notification) => void,
  stop: AbortSignal,
): Promise<void> {
  const counts = new Map<bigint, number>()
  const follower = async (): Promise<void> => {
    let last = 0n
    const deliver = (notification: Notification): void => {
      if (notification.id <= last) seen(notification)
      last = notification.id
      const count = (counts.get(notification.id) ?? 0) + 1
      counts.set(notification.id, count)
      if (count < crowdSize) return
      counts.delete(notification.id)
      seen(notification)
    }
    await follow(recorder, deliver, stop)
  }
  setMaxListeners(crowdSize, stop)
  await Promise.all(Array.from({ length: crowdSize }, follower))
}

async function poll(
  recorder: PrismaApplicationRecorder,
  seen: (notification: Notification) => void,
  stop: AbortSignal,
): Promise<void> {
  for (let position: bigint | null = null; ; ) {
    const isLast = stop.aborted
    const batch = await recorder.selectNotifications(position, batchSize, { inclusiveOfStart: false })
    for (const notification of batch) seen(notification)
    position = batch.at(-1)?.id ?? position
    if (batch.length > 0) continue
    if (isLast) return
    await delay(pollMs)
  }
}

/** A subscription delivers what is there at the end of the writers; it is given the time for that, as long as it goes on. */
async function follow(
  recorder: PrismaApplicationRecorder,
  seen: (notification: Notification) => void,
  stop: AbortSignal,
): Promise<void> {
  const progress = { last: 0n }
  const subscription = recorder.subscribe()
  const deliver = async (): Promise<void> => {
    for await (const notification of subscription) {
      seen(notification)
      progress.last = notification.id
    }
  }
  const stopAtEnd = async (): Promise<void> => {
    await once(stop, 'abort')
    const end = (await recorder.maxNotificationId()) ?? 0n
    for (let quiet = 0; progress.last < end && quiet < 600; ) {
      const before = progress.last
      await delay(50)
      quiet = progress.last === before ? quiet + 1 : 0
    }
    subscription.stop()
  }
  await Promise.all([deliver(), stopAtEnd()])
}

/** What it has processed and its position are stored together, so that it can be killed at any time. */
async function processLog(
  datastore: PrismaDatastore,
  recorder: PrismaApplicationRecorder,
  stop: AbortSignal,
): Promise<void> {
  const tracking = new PrismaTrackingRecorder(datastore)
  const applicationName = 'upstream'
  for (;;) {
    const isLast = stop.aborted
    const position = await tracking.maxTrackingId(applicationName)
    const batch = await recorder.selectNotifications(position, batchSize, { inclusiveOfStart: false })
    const at = now()
    const last = batch.at(-1)
    if (last === undefined) {
      if (isLast) return
      await delay(pollMs)
      continue
    }
    await datastore.transaction(
      async () => {
        await tracking.insertTracking({ applicationName, notificationId: last.id })
        await store(datastore, batch, at)
      },
      { retries: 20 },
    )
  }
}

/** Each batch by its last id, which only grows, and in it each event by its place: the order in which they were processed. */
async function store(datastore: PrismaDatastore, batch: readonly Notification[], at: number): Promise<void> {
  const last = batch.at(-1)?.id ?? 0n
  const rows = batch.map(
    ({ id, originatorId, originatorVersion }, place) =>
      `(${last}, ${place}, ${id}, '${originatorId}', ${originatorVersion}, ${at})`,
  )
  const columns = 'batch, place, id, originator_id, originator_version, seen_at'
  const insert = statement(`INSERT INTO ${seenTable} (${columns}) VALUES ${rows.join(', ')}`)
  await engineOf(datastore).transactions.current?.execute((connection) => connection.execute(insert))
}
