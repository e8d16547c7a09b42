/** The steps that hold no others: each is done on the database, then in the model, and compared. */
import { expect } from 'vitest'
import { type DomainEvent, domainEvent } from '../../src/domain/event.js'
import { createTimestamp } from '../../src/domain/timestamp.js'
import { NAMESPACE_URL, type StoredEvent, uuid5 } from '../../src/index.js'
import { type ModelDatabase, type ModelEvent, type ModelScope, type Reason, Refusal } from './model.js'
import { expectSameEnd, settled, settledInModel } from './outcomes.js'
import { Recordings } from './recordings.js'
import type { Range, SimpleStep, StreamName } from './steps.js'
import { type Run, type TableName, tables } from './world.js'

type StepOf<Name extends SimpleStep['do']> = Extract<SimpleStep, { do: Name }>

/** What an attempt gave on both sides. */
interface Both<Real, Model> {
  readonly real: Real
  readonly model: Model
}

/** Leaves a part whose transaction can do nothing more. */
export class PartOver extends Error {}

/** The operations of one lane. */
export class Operations {
  readonly recordings: Recordings
  /** The hooks that have run, in their order. */
  readonly hooksRun: string[] = []
  /** What the labels of the current transaction's events begin with. */
  prefix = ''
  readonly #run: Run
  readonly #lane: string
  readonly #database: ModelDatabase
  #count = 0

  constructor(run: Run, lane: string, database: ModelDatabase) {
    this.#run = run
    this.#lane = lane
    this.#database = database
    this.recordings = new Recordings(run, database)
  }

  async perform(step: SimpleStep, scope: ModelScope): Promise<void> {
    const { open, world } = this.#run
    switch (step.do) {
      case 'save':
        return await this.#save(step, scope)
      case 'insert':
        return await this.#insert(step, scope)
      case 'track':
        return await this.#track(step, scope)
      case 'flush':
        await this.#both(
          'flush',
          () => open.datastore.currentTransaction.flush(),
          () => scope.flush(),
        )
        return
      case 'row':
        return await this.#addRow(`${this.#run.name} ${this.#newLabel()}`, scope)
      case 'sameRow':
        return await this.#addSameRow(scope)
      case 'readStream':
        await this.#readStream(step.stream, step.range, scope)
        return
      case 'readLog':
        return await this.#readLog(step.of, scope)
      case 'readRows':
        return await this.#readRows(scope)
      case 'readTracking':
        return await this.#compare(
          'read the position',
          async () => (await world.recorders.stored_events.maxTrackingId(this.upstream)) ?? 0n,
          () => scope.readPosition(),
        )
      case 'hooks':
        return this.#addHooks(scope)
      case 'autoflush':
        open.datastore.currentTransaction.autoflush = step.on
        scope.autoflush = step.on
        return
      case 'rollbackOnly':
        open.datastore.currentTransaction.rollbackOnly()
        scope.rollbackOnly()
    }
  }

  /** The application whose log this lane processes. */
  get upstream(): string {
    return `${this.#run.name}-${this.#lane}`
  }

  async #save(step: StepOf<'save'>, scope: ModelScope): Promise<void> {
    const events: ModelEvent[] = []
    for (const name of step.streams) {
      const own = await this.#newEvents(name, step, scope)
      if (own === undefined) return
      events.push(...own)
    }
    const real = async (): Promise<void> => {
      for (const table of tables) {
        const own = events.filter((event) => event.table === table).map(toDomainEvent)
        this.recordings.add(await this.#run.world.stores[table].put(own))
      }
    }
    await this.#both('save', real, () => scope.save(events))
  }

  async #insert(step: StepOf<'insert'>, scope: ModelScope): Promise<void> {
    const events = await this.#newEvents(step.stream, step, scope)
    if (events === undefined) return
    const id = step.tracking === 'none' ? undefined : nextId(step.tracking, scope)
    const options = id === undefined ? {} : { tracking: { applicationName: this.upstream, notificationId: id } }
    const real = async (): Promise<void> => {
      const ids = await this.#run.world.recorders[tableOf(step.stream)].insertEvents(events.map(toStoredEvent), options)
      this.recordings.tell(events, ids)
    }
    await this.#both('insert', real, () =>
      id === undefined ? scope.insert(events) : scope.insertWithTracking(events, id),
    )
  }

  async #track(step: StepOf<'track'>, scope: ModelScope): Promise<void> {
    const notificationId = nextId(step.tracking, scope)
    await this.#both(
      'track',
      () => this.#run.world.recorders.stored_events.insertTracking({ applicationName: this.upstream, notificationId }),
      () => scope.track(notificationId),
    )
  }

  async #addRow(dog: string, scope: ModelScope, onRefusal: (reason: Reason) => void = () => {}): Promise<void> {
    const model = (): void => {
      try {
        scope.addRow(dog)
      } catch (error) {
        if (error instanceof Refusal) onRefusal(error.reason)
        throw error
      }
    }
    const real = async (): Promise<unknown> =>
      await this.#run.open.db.owner.create({ data: { name: this.upstream, dog } })
    await this.#both('add a row', real, model)
  }

  async #addSameRow(scope: ModelScope): Promise<void> {
    const [row] = scope.stored.rows
    if (row === undefined) return
    let isViolated = false
    await this.#addRow(row, scope, (reason) => {
      isViolated = reason === 'notUnique'
    })
    if (!isViolated || !this.#run.world.failuresDoom) return
    scope.rollbackOnly()
    throw new PartOver()
  }

  async #readStream(name: StreamName, range: Range, scope: ModelScope): Promise<readonly ModelEvent[] | undefined> {
    const [stream, table] = [this.#streamOf(name), tableOf(name)]
    const isContended = this.#database.isContended(stream)
    const result = await this.#both(
      'read a stream',
      async () => await this.#run.world.recorders[table].selectEvents(stream, isContended ? {} : range),
      () => scope.readStream(stream),
    )
    if (result === undefined) return undefined
    const got = result.real.map((event) => ({ table, stream, version: event.originatorVersion, label: event.topic }))
    const own = isContended ? this.#withoutOthers(got) : got
    expect(own, 'what a read of a stream gave').toEqual(isContended ? result.model : within(result.model, range))
    return got
  }

  async #readLog(name: StreamName, scope: ModelScope): Promise<void> {
    const { world, starts, laneCount, logReads } = this.#run
    const table = tableOf(name)
    const result = await this.#both(
      'read the log',
      async () => await world.recorders[table].selectNotifications(starts[table] + 1n, 1_000),
      () => scope.readLog(table),
    )
    if (result === undefined) return
    const labels = result.real.map(({ topic }) => topic)
    logReads.push({ table, labels })
    const own = this.#withoutOthers(labels.map((label) => ({ label }))).map(({ label }) => label)
    const expected = result.model.map(({ label }) => label)
    // Where transactions beside this one have taken ids, what comes after these may be kept back for a while.
    const keptBack = laneCount > 1 && world.kind.provider === 'postgresql'
    expect(own, 'what a read of the log gave').toEqual(keptBack ? expected.slice(0, own.length) : expected)
  }

  async #readRows(scope: ModelScope): Promise<void> {
    const real = async (): Promise<string[]> => {
      const owners = await this.#run.open.db.owner.findMany({ where: { name: this.upstream }, orderBy: { id: 'asc' } })
      return owners.map(({ dog }) => dog)
    }
    await this.#compare('read the rows', real, () => scope.readRows())
  }

  #addHooks(scope: ModelScope): void {
    const tx = this.#run.open.datastore.currentTransaction
    const [commit, rollback] = [`commit ${this.#newLabel()}`, `rollback ${this.#newLabel()}`]
    tx.afterCommit(() => this.hooksRun.push(commit))
    tx.afterRollback(() => this.hooksRun.push(rollback))
    scope.addHooks(commit, rollback)
  }

  /** Events for a stream; undefined when it could not be read where its end is. */
  async #newEvents(
    name: StreamName,
    { at, count }: { readonly at: 'end' | 'taken' | 'gap'; readonly count: number },
    scope: ModelScope,
  ): Promise<ModelEvent[] | undefined> {
    const stream = this.#streamOf(name)
    const events = this.#database.isContended(stream) ? await this.#readStream(name, {}, scope) : scope.stream(stream)
    if (events === undefined) return undefined
    const last = Math.max(0, ...events.map(({ version }) => version))
    const first = at === 'end' ? last + 1 : at === 'gap' ? last + 2 : Math.max(last, 1)
    return Array.from({ length: count }, (_, n) => ({
      table: tableOf(name),
      stream,
      version: first + n,
      label: this.#newLabel(),
    }))
  }

  /** Does it on both sides. @returns undefined when both have refused it */
  async #both<Real, Model>(
    attempted: string,
    real: () => Promise<Real>,
    model: () => Model,
  ): Promise<Both<Real, Model> | undefined> {
    const actual = await settled(real)
    if (actual.status === 'rejected' && this.#run.isVictim(actual.reason)) throw actual.reason
    this.recordings.note()
    const expected = settledInModel(model)
    expectSameEnd(attempted, actual, expected)
    this.recordings.check()
    if (actual.status === 'rejected' || expected.status === 'rejected') return undefined
    return { real: actual.value, model: expected.value }
  }

  async #compare<T>(attempted: string, real: () => Promise<T>, model: () => unknown): Promise<void> {
    const result = await this.#both(attempted, real, model)
    if (result !== undefined) expect(result.real, attempted).toEqual(result.model)
  }

  #withoutOthers<E extends { readonly label: string }>(events: readonly E[]): E[] {
    const isOwn = ({ label }: E): boolean => label.startsWith(`${this.#lane}.`)
    for (const event of events) if (!isOwn(event)) this.#run.seenOfOthers.add(event.label)
    return events.filter(isOwn)
  }

  #streamOf(name: StreamName): string {
    return name === 'shared' ? this.#run.sharedStream : uuid5(NAMESPACE_URL, `/${this.upstream}/${name}`)
  }

  #newLabel(): string {
    this.#count += 1
    return `${this.prefix}.${this.#count}`
  }
}

function tableOf(name: StreamName): TableName {
  return name === 'two' ? 'trainingschool_events' : 'stored_events'
}

function toDomainEvent({ stream, version, label }: ModelEvent): DomainEvent {
  const timestamp = createTimestamp()
  return domainEvent({ originatorId: stream, originatorVersion: version, topic: label, timestamp, data: {} })
}

function nextId(tracking: 'next' | 'again', scope: ModelScope): bigint {
  const { position } = scope.stored
  return tracking === 'next' || position === 0n ? position + 1n : position
}

function toStoredEvent({ stream, version, label }: ModelEvent): StoredEvent {
  return { originatorId: stream, originatorVersion: version, topic: label, state: new Uint8Array() }
}

function within(events: readonly ModelEvent[], { gt = 0, lte = Infinity, desc, limit }: Range): ModelEvent[] {
  const found = events.filter(({ version }) => version > gt && version <= lte)
  if (desc === true) found.sort((a, b) => b.version - a.version)
  return found.slice(0, limit)
}
