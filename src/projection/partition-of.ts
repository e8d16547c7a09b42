/** Which part of a projection an event belongs to. */

/** The same part for the same key, on every machine. @see http://www.isthe.com/chongo/tech/comp/fnv/ */
export function partitionOf(key: string, partitions: number): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < key.length; index += 1) {
    hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193)
  }
  return (hash >>> 0) % partitions
}
