/** Cargo as a decider, with definitions of its events. */
import { defineDecider, defineEvent, typed } from 'eventsourcing-prisma'
import { afterHandling, assertLeads, type Handling, type Leg, type Voyage } from './voyage.js'

const Booked = defineEvent('Booked', typed<{ origin: string; destination: string; arrivalDeadline: Date }>())
const RouteAssigned = defineEvent('RouteAssigned', typed<{ legs: readonly Leg[] }>())
const DestinationChanged = defineEvent('DestinationChanged', typed<{ destination: string }>())
const Handled = defineEvent('Handled', typed<{ handling: Handling; port: string; ship?: string }>())

interface CargoState extends Voyage {
  readonly arrivalDeadline: Date
}

export const cargos = defineDecider([Booked, RouteAssigned, DestinationChanged, Handled], {
  name: 'Cargo',
  initialState: (): CargoState => ({
    origin: '',
    destination: '',
    arrivalDeadline: new Date(0),
    legs: [],
    location: undefined,
    ship: undefined,
    isMisdirected: false,
  }),
  evolve: {
    Booked: (state, booking) => ({ ...state, ...booking }),
    RouteAssigned: (state, { legs }) => ({ ...state, legs, isMisdirected: false }),
    DestinationChanged: (state, { destination }) => ({ ...state, destination, legs: [] }),
    Handled: (state, handled) => ({ ...state, ...afterHandling(state, handled) }),
  },
  decide: {
    book: (_state, origin: string, destination: string, arrivalDeadline: Date) => [
      Booked({ origin, destination, arrivalDeadline }),
    ],
    assignRoute(state, legs: readonly Leg[]) {
      assertLeads(state, legs)
      return [RouteAssigned({ legs })]
    },
    changeDestination: (_state, destination: string) => [DestinationChanged({ destination })],
    handle: (_state, handling: Handling, port: string, ship?: string) => [
      Handled({ handling, port, ...(ship === undefined ? {} : { ship }) }),
    ],
  },
})
