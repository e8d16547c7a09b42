/** Cargo and its way: what both styles know of it. */

/** One part of the way, on one ship. */
export interface Leg {
  readonly from: string
  readonly to: string
  readonly ship: string
}

/** What happens to cargo at a port. */
export type Handling = 'received' | 'loaded' | 'unloaded' | 'claimed'

/** Where cargo is, and what it is meant to do next. */
export interface Voyage {
  readonly origin: string
  readonly destination: string
  readonly legs: readonly Leg[]
  readonly location: string | undefined
  readonly ship: string | undefined
  readonly isMisdirected: boolean
}

/** What comes after something was done to the cargo. */
export function afterHandling(
  voyage: Voyage,
  { handling, port, ship }: { readonly handling: Handling; readonly port: string; readonly ship?: string },
): Pick<Voyage, 'location' | 'ship' | 'isMisdirected'> {
  const isExpected: Record<Handling, boolean> = {
    received: port === voyage.origin,
    loaded: voyage.legs.some((leg) => leg.from === port && leg.ship === ship),
    unloaded: voyage.legs.some((leg) => leg.to === port && leg.ship === voyage.ship),
    claimed: port === voyage.destination,
  }
  return {
    location: port,
    ship: handling === 'loaded' ? ship : undefined,
    isMisdirected: !isExpected[handling],
  }
}

/** @throws when the legs do not lead from where the cargo is to where it has to go */
export function assertLeads({ origin, location, destination }: Voyage, legs: readonly Leg[]): void {
  const start = location ?? origin
  const breaks = legs.some((leg, index) => leg.from !== (index === 0 ? start : legs[index - 1]?.to))
  if (legs.length === 0 || breaks || legs.at(-1)?.to !== destination) {
    throw new Error(`These legs do not lead from ${start} to ${destination}`)
  }
}
