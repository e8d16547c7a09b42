/** The package entry `eventsourcing-prisma/relay`: to a broker and back. */

export type { CloudEvent, ContentMode, MappedEvent, ReceivedHeaders, ReceivedMessage } from './cloud-event.js'
export { positionOf, readCloudEvent } from './cloud-event.js'
export type { InboxApplication, InboxDatastore, InboxFactory, InboxOptions } from './inbox.js'
export { Inbox } from './inbox.js'
export type {
  JetStreamClient,
  JetStreamExpectation,
  JetStreamHeaders,
  JetStreamInfo,
  JetStreamManager,
  JetStreamMessage,
  JetStreamOptions,
  JetStreamPublishOptions,
  JetStreamQuery,
  JetStreamStreams,
} from './jetstream.js'
export { jetStream } from './jetstream.js'
export type { KafkaMessage, KafkaOptions, KafkaProducer, KafkaRecord } from './kafka.js'
export { kafka } from './kafka.js'
export type { ConfirmChannel, RabbitMQOptions, RabbitMQProperties } from './rabbitmq.js'
export { rabbitMQ } from './rabbitmq.js'
export {
  type Broker,
  type MapEvent,
  Relay,
  type RelayEvent,
  type RelayMessage,
  type RelayOptions,
  type RelayStats,
} from './relay.js'
