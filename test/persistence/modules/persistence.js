/** A persistence module with one factory, as an application may have it. */
import { InMemoryApplicationRecorder } from '../../../src/persistence/in-memory-recorders.js'

export class OwnFactory {
  constructor(environment) {
    this.environment = environment
    this.closings = 0
  }

  aggregateRecorder() {
    return new InMemoryApplicationRecorder()
  }

  applicationRecorder() {
    return new InMemoryApplicationRecorder()
  }

  async close() {
    this.closings += 1
  }
}

export { OwnFactory as TheSameFactory }

export async function makeFactory(environment) {
  return new OwnFactory(environment)
}

export function makeNothing() {}

export const limit = 10
