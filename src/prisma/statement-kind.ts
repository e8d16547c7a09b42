/** What a statement does, as its first words tell. */

const comments = String.raw`(?:\s|--[^\n]*\n|/\*[\s\S]*?\*/)*`
const writes = new RegExp(`^${comments}(?:insert|update|delete|replace|merge|truncate|copy|load)\\b`, 'i')
const maybe = new RegExp(`^${comments}with\\b`, 'i')
const writesWithin = /\b(?:insert\s+into|update|delete\s+from|merge\s+into)\b/i

/** Whether a statement changes rows. That of a procedure that is called, or of a function that is selected, is not known. */
export function isWrite(sql: string): boolean {
  return writes.test(sql) || (maybe.test(sql) && writesWithin.test(sql))
}
