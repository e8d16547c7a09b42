/** One process with a projection runner; what it is to do is in its argument. It ends when the parent says so. */
import { ProjectionRunner } from '../../../src/index.js'
import { Ledgers, openRows, projectionsOf, type RunnerPlan } from './plan.js'
import { unguarded } from './unguarded.js'

const plan: RunnerPlan = JSON.parse(process.argv[2] ?? '')
// The parent is gone: nobody will say when to stop.
const orphaned = (): never => process.exit(1)
process.on('disconnect', orphaned)
const datastore = openRows(plan)
const runner = new ProjectionRunner({
  application: new Ledgers({ datastore }),
  datastore: plan.isProtected ? datastore : unguarded(datastore),
  projections: projectionsOf(datastore.client, plan.inBatches),
  leaseMs: plan.leaseMs,
  batch: { maxEvents: plan.inBatches ? 500 : 200 },
})
await runner.start()
process.send?.('ready')
await new Promise((resolve) => process.once('message', resolve))
await runner.stop()
await datastore.close()
process.off('disconnect', orphaned)
process.disconnect()
