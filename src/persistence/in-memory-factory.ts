/** The factory of applications that nobody has configured. */
import type { InfrastructureFactory } from './factory.js'
import { InMemoryAggregateRecorder, InMemoryApplicationRecorder } from './in-memory-recorders.js'
import { InMemorySubjectKeyRecorder } from './in-memory-subject-keys.js'
import { InMemoryProcessRecorder, InMemoryTrackingRecorder } from './in-memory-tracking.js'

/** Makes recorders that keep everything in memory, each on its own. */
export class InMemoryFactory implements InfrastructureFactory {
  aggregateRecorder(): InMemoryAggregateRecorder {
    return new InMemoryAggregateRecorder()
  }

  applicationRecorder(): InMemoryApplicationRecorder {
    return new InMemoryApplicationRecorder()
  }

  trackingRecorder(): InMemoryTrackingRecorder {
    return new InMemoryTrackingRecorder()
  }

  processRecorder(): InMemoryProcessRecorder {
    return new InMemoryProcessRecorder()
  }

  subjectKeyRecorder(): InMemorySubjectKeyRecorder {
    return new InMemorySubjectKeyRecorder()
  }

  async close(): Promise<void> {}
}
