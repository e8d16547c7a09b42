/** Cargo as a class. */
import { Aggregate, event } from 'eventsourcing-prisma'
import { afterHandling, assertLeads, type Handling, type Leg, type Voyage } from './voyage.js'

@event('Booked', 'origin', 'destination', 'arrivalDeadline')
export class Cargo extends Aggregate implements Voyage {
  readonly origin: string
  readonly arrivalDeadline: Date
  destination: string
  legs: readonly Leg[] = []
  location: string | undefined
  ship: string | undefined
  isMisdirected = false

  constructor(origin: string, destination: string, arrivalDeadline: Date) {
    super()
    this.origin = origin
    this.destination = destination
    this.arrivalDeadline = arrivalDeadline
  }

  assignRoute(legs: readonly Leg[]): void {
    assertLeads(this, legs)
    this.routeAssigned(legs)
  }

  @event('DestinationChanged', 'destination') changeDestination(destination: string): void {
    this.destination = destination
    this.legs = []
  }

  @event('Handled', 'handling', 'port', 'ship') handle(handling: Handling, port: string, ship?: string): void {
    Object.assign(this, afterHandling(this, { handling, port, ...(ship === undefined ? {} : { ship }) }))
  }

  @event('RouteAssigned', 'legs') protected routeAssigned(legs: readonly Leg[]): void {
    this.legs = legs
    this.isMisdirected = false
  }
}
