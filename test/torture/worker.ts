/** One process of a torture run; what it is to do is in its argument. It ends when the parent says so. */
import { constants, setPriority } from 'node:os'
import { openTortured } from './open.js'
import type { WorkerPlan } from './plan.js'
import { readPlainly, writeLikePython } from './python.js'
import { read } from './reader.js'
import { Report } from './report-file.js'
import { write } from './writer.js'

const plan: WorkerPlan = JSON.parse(process.argv[2] ?? '')
// Readers go first: at the end of the log events can be lost, and not where it was written long ago.
const isWriter = plan.role === 'writer' || plan.role === 'python'
if (isWriter) setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
const report = new Report(plan.report)
const stop = new AbortController()
process.on('message', () => stop.abort())
// The parent is gone: nobody will say when to stop.
const orphaned = (): never => process.exit(1)
process.on('disconnect', orphaned)
const flushing = setInterval(() => report.flush(), 50)
if (plan.role === 'python' || plan.role === 'plain') {
  const work = plan.role === 'python' ? writeLikePython : readPlainly
  process.send?.('ready')
  await work(plan, report, stop.signal)
} else {
  const datastore = openTortured(plan)
  process.send?.('ready')
  await (plan.role === 'writer' ? write : read)(plan, datastore, report, stop.signal)
  await datastore.close()
}
clearInterval(flushing)
report.flush()
process.off('disconnect', orphaned)
process.disconnect()
