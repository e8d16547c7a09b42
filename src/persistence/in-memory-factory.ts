/** The factory of applications that nobody has configured. */
import type { InfrastructureFactory } from './factory.js'
import { InMemoryAggregateRecorder, InMemoryApplicationRecorder } from './in-memory-recorders.js'

/** Makes recorders that keep everything in memory, each on its own. */
export class InMemoryFactory implements InfrastructureFactory {
  aggregateRecorder(): InMemoryAggregateRecorder {
    return new InMemoryAggregateRecorder()
  }

  applicationRecorder(): InMemoryApplicationRecorder {
    return new InMemoryApplicationRecorder()
  }

  async close(): Promise<void> {}
}
