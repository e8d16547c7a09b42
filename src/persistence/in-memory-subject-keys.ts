/** The keys of personal data in memory. */
import { noTransactions } from './in-memory-recorders.js'
import type { ManagedSubjectKeyRecorder } from './recorder-transaction.js'
import type { SubjectKey } from './subject-key-recorder.js'

/** Keeps the keys of personal data in memory. */
export class InMemorySubjectKeyRecorder implements ManagedSubjectKeyRecorder {
  readonly #keys = new Map<string, Uint8Array>()

  async selectKeys(subjects: readonly string[]): Promise<SubjectKey[]> {
    return [...new Set(subjects)].flatMap((subject) => {
      const key = this.#keys.get(subject)
      return key === undefined ? [] : [{ subject, key: key.slice() }]
    })
  }

  async insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]> {
    for (const { subject, key } of keys) if (!this.#keys.has(subject)) this.#keys.set(subject, key.slice())
    return await this.selectKeys(keys.map(({ subject }) => subject))
  }

  async deleteKey(subject: string): Promise<boolean> {
    return this.#keys.delete(subject)
  }

  /** Does nothing: there is no table to make. */
  async createTable(): Promise<void> {}

  /** @throws `NotSupportedError`, always */
  async transaction(): Promise<never> {
    throw noTransactions()
  }
}
