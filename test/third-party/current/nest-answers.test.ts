/** Answers that do not tell of a failure, in NestJS 12. */
import * as common from '@nestjs/common'
import * as core from '@nestjs/core'
import * as fastify from '@nestjs/platform-fastify'
import { describeAnsweringNest } from '../answering-nest.js'

describeAnsweringNest('Nest 12', { common, core, fastify })
