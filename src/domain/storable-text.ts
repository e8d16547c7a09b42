/** Texts that every database keeps as they are. */
import { DataError } from '../errors.js'

/** Whether databases keep a text as it is: one with a NUL, or with half of a surrogate pair, some of them do not. */
export function isStorableText(text: string): boolean {
  // UTF-8 cannot have half of a surrogate pair. PostgreSQL has no NUL in texts, and SQLite drivers end a text at it.
  return text.isWellFormed() && !text.includes('\0')
}

/**
 * Checks texts.
 *
 * @param attempted - gives what is to be done, for messages
 * @throws `DataError` for one that databases do not keep as it is
 */
export function assertStorableText(texts: Readonly<Record<string, string>>, attempted: () => string): void {
  for (const name in texts) {
    const text = texts[name]
    if (text === undefined || isStorableText(text)) continue
    throw new DataError(
      `Cannot ${JSON.stringify(attempted()).slice(1, -1)}: its ${name} is ${JSON.stringify(text)}, with a NUL or half of a surrogate pair, ` +
        'which databases do not keep',
    )
  }
}

/** The same for the id and the topic of an event. */
export function assertStorableIds(
  { originatorId, topic }: { readonly originatorId: string; readonly topic: string },
  attempted: () => string,
): void {
  if (!isStorableText(originatorId) || !isStorableText(topic)) assertStorableText({ originatorId, topic }, attempted)
}
