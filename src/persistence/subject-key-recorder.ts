/** The port of what keeps the keys of personal data. */

/** The key of the personal data of one person. */
export interface SubjectKey {
  /** The person, as events name them: a text of 1 to 255 characters, compared exactly, with case, accents and spaces at its end. */
  readonly subject: string
  /** The bytes of the key, up to 1,024. */
  readonly key: Uint8Array
}

/**
 * Keeps one key for each person. Everything is done in the current transaction where there is one, and comes to nothing with
 * its rollback: a key that it has inserted is gone then, and one that it has deleted is back. Outside of transactions each
 * call is stored by itself, all of it or nothing.
 */
export interface SubjectKeyRecorder {
  /**
   * Reads keys.
   *
   * @param subjects - any number; one that is there twice counts once
   * @returns the keys of those that have one, in any order; none for none
   */
  selectKeys(subjects: readonly string[]): Promise<SubjectKey[]>

  /**
   * Stores the keys of those persons that have none yet. Of writers that do so at the same time all get the key of the
   * first: the others wait until its transaction has ended. From then on `selectKeys` finds that key in their transactions,
   * too, and nobody else can delete it before they end.
   *
   * @param keys - any number; of several for one person the first counts
   * @returns for each person given, once, the key that counts now, in any order: one that was there is not replaced
   * @throws `OperationalError` where the isolation level of the transaction does not let it see the other writer's key: it
   * may be run again
   */
  insertKeys(keys: readonly SubjectKey[]): Promise<SubjectKey[]>

  /**
   * Deletes the key of a person, who can have another later. Nothing brings it back but the rollback of the transaction.
   *
   * @returns whether there was a key
   * @throws `CommitUnknownError` outside of transactions, when the connection was lost before the answer; to repeat it does
   * no harm
   */
  deleteKey(subject: string): Promise<boolean>
}
