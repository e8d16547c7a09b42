/** Answers that do not tell of a failure, in NestJS 11. */
import * as common from '@nestjs/common'
import * as core from '@nestjs/core'
import * as fastify from '@nestjs/platform-fastify'
import { describeAnsweringNest } from '../answering-nest.js'
import type { Nest } from '../guarded-nest.js'

// The types of Nest 12 stand for those of Nest 11.
describeAnsweringNest('Nest 11', { common, core, fastify } as unknown as Nest)
