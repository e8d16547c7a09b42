/** Random numbers that a seed determines: a case that depends on chance tells the seed when it fails. */

const modulus = 2 ** 31 - 1

/** A seed that differs from run to run. */
export function newSeed(): number {
  return 1 + Math.floor(Math.random() * (modulus - 1))
}

/**
 * Numbers from 0 up to 1, the same for the same seed: the minimal standard generator.
 *
 * @param seed - from 1 to 2^31 - 2
 */
export function randomNumbers(seed: number): () => number {
  let state = seed
  return () => {
    // Below 2^47, so every product is exact.
    state = (state * 48_271) % modulus
    return state / modulus
  }
}
