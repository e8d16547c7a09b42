/** A module that leaves open which factory is meant. */
import { OwnFactory } from './persistence.js'

export { OwnFactory }

export class OtherFactory extends OwnFactory {}
