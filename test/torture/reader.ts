/** Readers of a torture run: each only follows the log from its own position. */
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

const batchSize = 500
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
  else await follow(recorder, seen, stop)
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

/** A subscription delivers what is there at the end of the writers; it is given the time for that. */
async function follow(
  recorder: PrismaApplicationRecorder,
  seen: (notification: Notification) => void,
  stop: AbortSignal,
): Promise<void> {
  const progress = { last: 0n }
  const subscription = recorder.subscribe()
  stop.addEventListener('abort', () => {
    void (async () => {
      const end = (await recorder.maxNotificationId()) ?? 0n
      for (let tries = 0; progress.last < end && tries < 600; tries += 1) await delay(50)
      subscription.stop()
    })()
  })
  for await (const notification of subscription) {
    seen(notification)
    progress.last = notification.id
  }
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
    const last = batch.at(-1)
    if (last === undefined) {
      if (isLast) return
      await delay(pollMs)
      continue
    }
    await datastore.transaction(
      async () => {
        await tracking.insertTracking({ applicationName, notificationId: last.id })
        await store(datastore, batch)
      },
      { retries: 20 },
    )
  }
}

async function store(datastore: PrismaDatastore, batch: readonly Notification[]): Promise<void> {
  const rows = batch.map(
    ({ id, originatorId, originatorVersion }) => `(${id}, '${originatorId}', ${originatorVersion})`,
  )
  const insert = statement(`INSERT INTO ${seenTable} (id, originator_id, originator_version) VALUES ${rows.join(', ')}`)
  await engineOf(datastore).currentScope?.execute((connection) => connection.execute(insert))
}
