/** Chance that can be repeated. */

/** Numbers from 0 up to 1 that a seed determines: Marsaglia's xorshift with 32 bits. */
export function randomNumbers(seed: number): () => number {
  // Zero would stay zero; the multiplication keeps the first numbers of neighbouring seeds apart.
  let state = Math.imul(seed + 1, 0x9e3779b1) | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return (state >>> 0) / 2 ** 32
  }
}
