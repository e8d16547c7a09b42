/** The envelope of messages: what CloudEvents 1.0 asks for, read by its own package, and read again by us. */
import { CloudEvent as Peer, Kafka as PeerKafka } from 'cloudevents'
import { describe, expect, it } from 'vitest'
import { domainEvent } from '../../src/domain/event.js'
import { Timestamp } from '../../src/domain/timestamp.js'
import {
  amqpBinding,
  cloudEventOf,
  type EncodedEvent,
  encodeCloudEvent,
  kafkaBinding,
  type MappedEvent,
  natsBinding,
} from '../../src/relay/cloud-event.js'
import { type CloudEvent, positionOf, readCloudEvent } from '../../src/relay/index.js'

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const event = domainEvent({
  originatorId: '0e3f1b4e-7c2a-5b5e-9f40-7d5b2f6c8a11',
  originatorVersion: 2,
  topic: 'Dog.TrickAdded',
  timestamp: Timestamp.fromISO('2026-11-29T14:00:00.123456+00:00'),
  data: { trick: 'sit' },
  metadata: { correlationId: 'request "ä" 100%', causationId: 'TrainingSchool/4710', traceparent },
})

const mapped = (data: MappedEvent = { data: { trick: 'roll över' } }, changed = event): CloudEvent =>
  cloudEventOf({ event: changed, position: 4711n, application: 'TrainingSchool' }, data)

const bindings = { NATS: natsBinding, AMQP: amqpBinding, Kafka: kafkaBinding }

/** A message as the client of each broker gives it. */
const receivedAs = {
  NATS: ({ headers, body }: EncodedEvent) =>
    readCloudEvent({
      data: body,
      headers: { get: (name) => headers[name] ?? '', keys: () => Object.keys(headers) },
    }),
  AMQP: ({ contentType, headers, body }: EncodedEvent) =>
    readCloudEvent({ content: Buffer.from(body), properties: { contentType, headers } }),
  Kafka: ({ headers, body }: EncodedEvent) =>
    readCloudEvent({
      value: Buffer.from(body),
      headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(value)])),
    }),
}

describe('an event', () => {
  it('has the attributes that its place in the log gives it', () => {
    expect(mapped()).toEqual({
      specversion: '1.0',
      id: 'TrainingSchool/4711',
      source: 'TrainingSchool',
      type: 'Dog.TrickAdded',
      subject: event.originatorId,
      time: '2026-11-29T14:00:00.123456+00:00',
      datacontenttype: 'application/json',
      sequence: '0000000000000004711',
      partitionkey: event.originatorId,
      traceparent,
      correlationid: 'request "ä" 100%',
      causationid: 'TrainingSchool/4710',
      data: { trick: 'roll över' },
    })
    expect(positionOf(mapped())).toBe(4711n)
    expect(positionOf({ sequence: 'first' })).toBeUndefined()
  })

  it('has the type and the subject that map gives', () => {
    expect(mapped({ data: {}, type: 'dogs.trick.v1', subject: 'Fido' })).toMatchObject({
      type: 'dogs.trick.v1',
      subject: 'Fido',
      partitionkey: event.originatorId,
    })
  })

  it('leaves metadata out that no attribute can have, and refuses such a type', () => {
    const odd = domainEvent({ ...event, metadata: { correlationId: 'a\nb', traceparent: '', causationId: 7 } })
    const names = Object.keys(mapped(undefined, odd))
    expect(names.filter((name) => /trace|correlation|causation/.test(name))).toEqual([])
    expect(() => mapped({ data: {}, type: '' })).toThrow(/its type has to be a text/)
    expect(() => mapped({ data: {}, subject: 'a\0b' })).toThrow(/its subject has to be a text/)
  })

  it('has a time of RFC 3339, also where Python has stored another one', () => {
    const timeOf = (iso: string): string | undefined =>
      mapped(undefined, domainEvent({ ...event, timestamp: Timestamp.fromISO(iso) })).time
    expect(timeOf('2026-11-29 14:00:00+00:00')).toBe('2026-11-29T14:00:00+00:00')
    expect(timeOf('2026-11-29T14:00:00.5')).toBe('2026-11-29T14:00:00.500Z')
  })

  it('refuses data that JSON cannot write, and says what to do', () => {
    expect(() => encodeCloudEvent(mapped({ data: { count: 1n } }), 'structured', natsBinding)).toThrow(
      /Cannot write event TrainingSchool\/4711 as JSON: let the relay's map/,
    )
  })
})

describe.each(Object.entries(bindings))('a message over %s', (name, binding) => {
  const received = receivedAs[name as keyof typeof receivedAs]

  it.each(['structured', 'binary'] as const)('is read in %s mode as what was sent', (mode) => {
    const sent = mapped()
    expect(received(encodeCloudEvent(sent, mode, binding))).toEqual(sent)
  })

  it.each(['structured', 'binary'] as const)('carries bytes and nothing in %s mode', (mode) => {
    const bytes = mapped({ data: Uint8Array.of(0, 255, 10) })
    expect(received(encodeCloudEvent(bytes, mode, binding))).toEqual(bytes)
    const nothing = received(encodeCloudEvent(mapped({ data: undefined }), mode, binding))
    expect(nothing.data).toBeUndefined()
    expect(nothing.id).toBe('TrainingSchool/4711')
  })
})

describe('what the specification asks for', () => {
  it('is kept as its own package checks it, in structured mode', () => {
    const { contentType, body } = encodeCloudEvent(mapped(), 'structured', natsBinding)
    expect(contentType).toBe('application/cloudevents+json')
    const peer = new Peer(JSON.parse(Buffer.from(body).toString()) as object)
    expect(peer.validate()).toBe(true)
    expect(peer).toMatchObject({
      id: 'TrainingSchool/4711',
      data: { trick: 'roll över' },
      sequence: '0000000000000004711',
    })
  })

  it.each(['structured', 'binary'] as const)('is read by its own package from Kafka in %s mode', (mode) => {
    const { headers, body } = encodeCloudEvent(mapped(), mode, kafkaBinding)
    const text = Buffer.from(body).toString()
    const peer = PeerKafka.toEvent({
      headers,
      body: text,
      value: text,
      key: event.originatorId,
      timestamp: '0',
    } as never)
    expect(peer).toMatchObject({
      id: 'TrainingSchool/4711',
      source: 'TrainingSchool',
      partitionkey: event.originatorId,
    })
    expect((peer as Peer).data).toEqual({ trick: 'roll över' })
  })

  it('is what the headers of each binding are called', () => {
    const names = (binding: (typeof bindings)['NATS']): string[] =>
      Object.keys(encodeCloudEvent(mapped(), 'binary', binding).headers)
    expect(names(natsBinding)).toEqual(expect.arrayContaining(['ce-id', 'ce-specversion', 'ce-datacontenttype']))
    expect(names(amqpBinding)).toEqual(expect.arrayContaining(['cloudEvents:id', 'cloudEvents:partitionkey']))
    expect(names(amqpBinding)).not.toContain('cloudEvents:datacontenttype')
    expect(names(kafkaBinding)).toEqual(expect.arrayContaining(['ce_id', 'content-type']))
  })

  it('is that NATS escapes what a header cannot have', () => {
    const { headers } = encodeCloudEvent(mapped(), 'binary', natsBinding)
    expect(headers['ce-correlationid']).toBe('request%20%22%C3%A4%22%20100%25')
  })
})

describe('a message that is none', () => {
  it('is refused with the reason', () => {
    const read =
      (body: string, contentType = 'application/cloudevents+json') =>
      () =>
        readCloudEvent({ content: Buffer.from(body), properties: { contentType } })
    expect(read('{"id":"1"}')).toThrow(/has no source/)
    expect(read('{')).toThrow(/its body is no JSON/)
    expect(read('{"id":"1","source":"a","type":"b","specversion":"0.3"}')).toThrow(/its specversion is '0.3'/)
    expect(read('text', 'text/plain')).toThrow(/has no id/)
  })
})
