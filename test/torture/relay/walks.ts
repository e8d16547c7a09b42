/** What is published in the torture of relays. */
import { Aggregate, Application, event } from '../../../src/index.js'

/** Goes on and on. */
export class Walk extends Aggregate {
  steps = 0
  @event('Stepped', 'steps') step(steps: number): void {
    this.steps += steps
  }
}

/** Saves walks. */
export class Walks extends Application {}
