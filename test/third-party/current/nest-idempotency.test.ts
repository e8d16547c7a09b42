/** Idempotency keys in NestJS 12. */
import * as common from '@nestjs/common'
import * as core from '@nestjs/core'
import * as fastify from '@nestjs/platform-fastify'
import { describeGuardedNest } from '../guarded-nest.js'

describeGuardedNest('Nest 12', { common, core, fastify })
