/** One process of a torture run; what it is to do is in its argument. It ends when the parent says so. */
import { constants, setPriority } from 'node:os'
import { openTortured } from './open.js'
import type { WorkerPlan } from './plan.js'
import { read } from './reader.js'
import { Report } from './report-file.js'
import { write } from './writer.js'

const plan: WorkerPlan = JSON.parse(process.argv[2] ?? '')
// Readers go first: at the end of the log events can be lost, and not where it was written long ago.
if (plan.role === 'writer') setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
const report = new Report(plan.report)
const stop = new AbortController()
process.on('message', () => stop.abort())
// The parent is gone: nobody will say when to stop.
const orphaned = (): never => process.exit(1)
process.on('disconnect', orphaned)
const flushing = setInterval(() => report.flush(), 50)
const datastore = openTortured(plan)
process.send?.('ready')
await (plan.role === 'writer' ? write : read)(plan, datastore, report, stop.signal)
clearInterval(flushing)
report.flush()
await datastore.close()
process.off('disconnect', orphaned)
process.disconnect()
