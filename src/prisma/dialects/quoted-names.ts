/** Names that users give, as identifiers. */

/**
 * Quotes a table's name.
 *
 * @param name - what is before a dot is the schema
 * @param mark - the database's quotation mark
 */
export function quotedName(name: string, mark: '"' | '`'): string {
  const parts = name.split('.')
  return parts.map((part) => `${mark}${part.replaceAll(mark, mark + mark)}${mark}`).join('.')
}
