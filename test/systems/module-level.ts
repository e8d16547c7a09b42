/** A system that a module exports, which says so. */
import { System } from '../../src/index.js'
import { Bank, Emails } from './bank.js'

export const system = new System([[Bank, Emails]], { topic: `${import.meta.url}#system` })
