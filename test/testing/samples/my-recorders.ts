/** Stands for the recorders of somebody else in the samples of docs/conformance.md. */
import { InMemoryProcessRecorder } from 'eventsourcing-prisma'

/** A recorder on a store that is opened and closed. */
export class MyProcessRecorder extends InMemoryProcessRecorder {
  /** Opens an empty store. */
  static async open(): Promise<MyProcessRecorder> {
    return await Promise.resolve(new MyProcessRecorder())
  }

  /** Deletes the store. */
  async drop(): Promise<void> {
    await Promise.resolve()
  }
}
