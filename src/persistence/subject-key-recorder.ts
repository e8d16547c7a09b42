/** The port of what keeps the keys of personal data. */

/** The key of the personal data of one person. */
export interface SubjectKey {
  /** The person, as events name them: a text of 1 to 255 characters, compared exactly. */
  readonly subject: string
  /** The bytes of the key. */
  readonly key: Uint8Array
}

/**
 * Keeps one key for each person. Everything is done in the current transaction where there is one, and comes to nothing with
 * its rollback.
 */
export interface SubjectKeyRecorder {
  /** @returns the keys of those that have one, in any order */
  selectKeys(subjects: readonly string[]): Promise<SubjectKey[]>

  /**
   * Stores the keys of those persons that have none yet.
   *
   * @returns for each person given the key that counts now: one that was there is not replaced
   */
  insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]>

  /** @returns whether there was a key */
  deleteKey(subject: string): Promise<boolean>
}
