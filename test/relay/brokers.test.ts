/** What is published arrives, in order and confirmed, or is an error: with real brokers where the environment names them. */
import { connect as connectAmqp } from 'amqplib'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { ProgrammingError, PublishError } from '../../src/index.js'
import { jetStream, kafka, rabbitMQ, readCloudEvent } from '../../src/relay/index.js'
import { warnings } from '../prisma/warnings.js'
import { CuttingProxy } from '../restarts/cutting-proxy.js'
import {
  messagesAt,
  natsUrl,
  newName,
  openQueue,
  openStream,
  rabbitUrl,
  type TestQueue,
  type TestStream,
} from './brokers.js'

const at = (from: number, to: number): number[] => Array.from({ length: to - from + 1 }, (_, index) => from + index)
const idsAt = (from: number, to: number): string[] => at(from, to).map((position) => `TrainingSchool/${position}`)

describe.skipIf(natsUrl === undefined)('JetStream', () => {
  let test: TestStream
  beforeEach(async () => {
    // So short that what is not doubled is not so because the server remembers it.
    test = await openStream(natsUrl ?? '', 100)
  })
  afterEach(async () => {
    await test.close()
  })
  const forgotten = async (): Promise<void> => await new Promise((resolve) => setTimeout(resolve, 400))

  it.each(['structured', 'binary'] as const)('stores events in order, in %s mode', async (mode) => {
    const broker = jetStream(test.js, { subject: test.subject, mode })
    const sent = messagesAt(at(1, 200), { data: { name: 'Fido ü' } })
    await broker.publish(sent)
    await broker.publish([])
    const stored = await test.messages()
    expect(stored.map((message) => readCloudEvent(message))).toEqual(sent.map(({ event }) => event))
    expect(await test.ids()).toEqual(idsAt(1, 200))
  })

  it('sends each event to the subject that it is given', async () => {
    const broker = jetStream(test.js, { subject: ({ id }) => `${test.stream}.${id.endsWith('2') ? 'even' : 'odd'}` })
    await broker.publish(messagesAt([1, 2]))
    expect((await test.messages()).map(({ subject }) => subject)).toEqual([`${test.stream}.odd`, `${test.stream}.even`])
  })

  it('stores nothing twice that another relay has sent, however long ago', async () => {
    await jetStream(test.js, { subject: test.subject }).publish(messagesAt(at(1, 3)))
    await forgotten()
    const second = jetStream(test.js, { subject: test.subject })
    await second.publish(messagesAt(at(1, 5)))
    await second.publish(messagesAt(at(6, 7)))
    expect(await test.ids()).toEqual(idsAt(1, 7))
  })

  it('lets a relay add nothing that another one has gone ahead of', async () => {
    const [first, second] = [
      jetStream(test.js, { subject: test.subject }),
      jetStream(test.js, { subject: test.subject }),
    ]
    await first.publish(messagesAt(at(1, 3)))
    await second.publish(messagesAt(at(1, 9)))
    await forgotten()
    await expect(first.publish(messagesAt(at(4, 6)))).rejects.toThrow(/another relay, or somebody else, has published/)
    await first.publish(messagesAt(at(4, 6)))
    expect(await test.ids()).toEqual(idsAt(1, 9))
  })

  it('doubles nothing when two relays send the same at the same time', async () => {
    const relays = [1, 2, 3].map(() => jetStream(test.js, { subject: test.subject }))
    for (let from = 1; from < 200; from += 20) {
      await Promise.all(
        relays.map(async (relay) => {
          for (;;) {
            try {
              return await relay.publish(messagesAt(at(from, from + 19)))
            } catch (error) {
              expect(error).toBeInstanceOf(PublishError)
            }
          }
        }),
      )
    }
    expect(await test.ids()).toEqual(idsAt(1, 200))
  })

  it('sends again what is to be sent again', async () => {
    const broker = jetStream(test.js, { subject: test.subject })
    await broker.publish(messagesAt(at(1, 3)))
    await broker.publish(messagesAt([2, 3], { again: '~7' }))
    await broker.publish(messagesAt([4]))
    expect(await test.ids()).toEqual([...idsAt(1, 3), 'TrainingSchool/2~7', 'TrainingSchool/3~7', 'TrainingSchool/4'])
    const ids = (await test.messages()).map((message) => readCloudEvent(message).id)
    expect(ids.slice(-3)).toEqual(['TrainingSchool/2', 'TrainingSchool/3', 'TrainingSchool/4'])
  })

  it('tells that a stream has what a relay is far behind of', async () => {
    const [ahead, behind] = [
      jetStream(test.js, { subject: test.subject }),
      jetStream(test.js, { subject: test.subject }),
    ]
    const told = warnings('ES_RELAY_PASSES_OVER')
    onTestFinished(told.stop)
    await ahead.publish(messagesAt([10_500]))
    for (let from = 1; from < 10_500; from += 500) await behind.publish(messagesAt(at(from, from + 499)))
    await expect
      .poll(() => told.seen)
      .toEqual([expect.stringMatching(/has events up to TrainingSchool\/10500 already/)])
    expect(await test.ids()).toEqual(['TrainingSchool/10500'])
  })

  it('goes on behind what was deleted, and behind what others have published, which it tells', async () => {
    const broker = jetStream(test.js, { subject: test.subject })
    await broker.publish(messagesAt([1, 2]))
    await test.manager.streams.purge(test.stream)
    const again = jetStream(test.js, { subject: test.subject })
    await again.publish(messagesAt([3]))
    const told = warnings('ES_RELAY_SHARED')
    onTestFinished(told.stop)
    await test.js.publish(test.subject, 'by somebody else')
    await expect(again.publish(messagesAt([4]))).rejects.toThrow(PublishError)
    await again.publish(messagesAt([4]))
    expect(await test.ids()).toEqual(['TrainingSchool/3', '', 'TrainingSchool/4'])
    await expect.poll(() => told.seen).toEqual([expect.stringMatching(/without an id.* set fence: false/)])
  })

  it('shares a stream without a fence', async () => {
    const broker = jetStream(test.js, { subject: test.subject, fence: false })
    await broker.publish(messagesAt(at(1, 20), { originator: 'Fido' }))
    await test.js.publish(test.subject, 'by somebody else')
    await broker.publish(messagesAt(at(21, 40), { originator: 'Fido' }))
    expect((await test.ids()).filter((id) => id !== '')).toEqual(idsAt(1, 40))
  })

  it('says why a message is not stored', async () => {
    const nowhere = jetStream(test.js, { subject: newName() })
    await expect(nowhere.publish(messagesAt([1]))).rejects.toThrow(
      /Could not publish event TrainingSchool\/1 to the subject .*: no stream matches subject: make a stream/,
    )
    const { max_payload: limit = 0 } = test.connection.info ?? {}
    const large = jetStream(test.js, { subject: test.subject }).publish(messagesAt([1], { data: 'x'.repeat(limit) }))
    await expect(large).rejects.toMatchObject({ code: 'ES_PUBLISH', retryable: false, messageId: 'TrainingSchool/1' })
  })
})

describe.skipIf(rabbitUrl === undefined)('RabbitMQ', () => {
  let test: TestQueue
  beforeEach(async () => {
    test = await openQueue(rabbitUrl ?? '')
  })
  afterEach(async () => {
    await test.close()
  })

  it.each(['structured', 'binary'] as const)('stores events in order, in %s mode', async (mode) => {
    const broker = rabbitMQ(test.channel, { exchange: test.exchange, mode })
    const sent = messagesAt(at(1, 200), { data: { name: 'Fido ü' } })
    await broker.publish(sent)
    await broker.publish([])
    const taken = await test.take()
    expect(taken.map((message) => readCloudEvent(message))).toEqual(sent.map(({ event }) => event))
    expect(taken[0]?.properties).toMatchObject({
      deliveryMode: 2,
      messageId: 'TrainingSchool/1',
      type: 'Dog.Registered',
    })
    expect(taken[0]?.fields.routingKey).toBe('Dog.Registered')
  })

  it('counts a message as not published that no queue takes', async () => {
    const broker = rabbitMQ(test.channel, { exchange: test.exchange, routingKey: ({ subject }) => String(subject) })
    await test.channel.unbindQueue(test.queue, test.exchange, '#')
    await test.channel.bindQueue(test.queue, test.exchange, 'dog 1')
    await expect(broker.publish(messagesAt([1, 2]))).rejects.toThrow(
      /event TrainingSchool\/2 .*: it has come back \(NO_ROUTE\): no queue takes messages with the routing key 'dog 2'/,
    )
    expect(await test.take()).toHaveLength(1)
    await test.channel.bindQueue(test.queue, test.exchange, 'dog 2')
    await broker.publish(messagesAt([1, 2]))
    expect(await test.take()).toHaveLength(2)
  })

  it('keeps the order of an originator where the broker refuses a message', async () => {
    const full = await openQueue(rabbitUrl ?? '', { 'x-max-length': 2, 'x-overflow': 'reject-publish' })
    onTestFinished(() => full.close())
    const broker = rabbitMQ(full.channel, { exchange: full.exchange })
    await expect(broker.publish(messagesAt(at(1, 9), { originator: 'Fido' }))).rejects.toThrow(/message nacked/)
    const ids = (await full.take()).map((message) => readCloudEvent(message).id)
    expect(ids).toEqual(idsAt(1, ids.length))
    expect(ids.length).toBeLessThan(9)
  })

  it('says what has ended the channel, and opens another where it can', async () => {
    const closed = await test.connection.createConfirmChannel()
    const broker = rabbitMQ(closed, { exchange: newName() })
    await expect(broker.publish(messagesAt([1]))).rejects.toThrow(/NOT_FOUND|no exchange/)
    await expect(broker.publish(messagesAt([1]))).rejects.toThrow(
      /its channel has ended .*: give rabbitMQ\(\) a function/,
    )

    const exchange = newName()
    const opening = rabbitMQ(() => test.connection.createConfirmChannel(), { exchange })
    await expect(opening.publish(messagesAt([1]))).rejects.toThrow(PublishError)
    await test.channel.assertExchange(exchange, 'fanout')
    await test.channel.bindQueue(test.queue, exchange, '')
    await opening.publish(messagesAt([1]))
    expect(await test.take()).toHaveLength(1)
    await test.channel.deleteExchange(exchange)
  })

  it('fails what is not confirmed in time, and what was under way when the connection ends', async () => {
    const silent = {
      publish: () => true,
      on: () => undefined,
    }
    const broker = rabbitMQ(silent, { exchange: 'dogs', timeoutMs: 20 })
    await expect(broker.publish(messagesAt([1]))).rejects.toThrow(/has not confirmed it in 20 ms/)

    const proxy = await CuttingProxy.before(rabbitUrl ?? '', 5672)
    onTestFinished(() => proxy.close())
    const connection = await connectAmqp(proxy.urlOf(rabbitUrl ?? ''))
    connection.on('error', () => undefined)
    const ending = rabbitMQ(await connection.createConfirmChannel(), { exchange: test.exchange })
    proxy.loseAnswerTo('TrainingSchool/25')
    await expect(ending.publish(messagesAt(at(1, 50)))).rejects.toThrow(PublishError)
  })

  it('fails where no channel can be opened', async () => {
    const broker = rabbitMQ(() => Promise.reject(new Error('no broker')), { exchange: 'dogs' })
    await expect(broker.publish(messagesAt([1]))).rejects.toThrow(/event TrainingSchool\/1 .*: no broker/)
  })
})

describe('Kafka, by a producer of the shape of kafkajs', () => {
  it('is sent all messages of a page at once, by the key of the originator, for all replicas', async () => {
    const records: Array<{ topic: string; messages: Array<{ key: string; value: Buffer; headers: object }> }> = []
    const broker = kafka({ send: (record) => Promise.resolve(records.push(record)) }, { topic: 'dogs', timeoutMs: 7 })
    const sent = messagesAt([1, 2])
    await broker.publish(sent)
    await broker.publish([])
    expect(records).toMatchObject([
      { topic: 'dogs', acks: -1, timeout: 7, messages: [{ key: 'dog 1' }, { key: 'dog 2' }] },
    ])
    expect(records[0]?.messages.map((message) => readCloudEvent(message))).toEqual(sent.map(({ event }) => event))
  })

  it('is sent events to the topics that they are given', async () => {
    const topics: string[] = []
    const producer = { send: ({ topic }: { topic: string }) => Promise.resolve(topics.push(topic)) }
    await kafka(producer, { topic: ({ subject }) => String(subject).replace(' ', '-') }).publish(messagesAt([1, 2]))
    expect(topics).toEqual(['dog-1', 'dog-2'])
  })

  it('has what the producer fails with as its error', async () => {
    const failing = (error: Error): Promise<void> =>
      kafka({ send: vi.fn().mockRejectedValue(error) }, { topic: 'dogs' }).publish(messagesAt([1]))
    await expect(failing(new Error('no leader'))).rejects.toMatchObject({ code: 'ES_PUBLISH', retryable: true })
    await expect(failing(Object.assign(new Error('large'), { type: 'MESSAGE_TOO_LARGE' }))).rejects.toMatchObject({
      retryable: false,
    })
  })
})

it('refuses what is no client, and options that there are not', () => {
  expect(() => jetStream({} as never, { subject: 'dogs' })).toThrow(ProgrammingError)
  expect(() => rabbitMQ({} as never, { exchange: 'dogs' })).toThrow(ProgrammingError)
  expect(() => kafka({} as never, { topic: 'dogs' })).toThrow(ProgrammingError)
  expect(() => jetStream({} as never, { subjects: 'dogs' } as never)).toThrow(/did you mean `subject`/)
})
