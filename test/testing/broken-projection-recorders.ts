/** Recorders of projections that break one promise each. */
import type { ParkedEvent, ProjectionKey } from '../../src/index.js'
import {
  InMemoryProjectionRecorder,
  type ProjectionLease,
  type ProjectionMove,
  type ProjectionRecorder,
  type ProjectionRow,
  type ProjectionStateChange,
} from '../../src/recorders.js'

type Batch = ProjectionRecorder['batch']

class MakesAPartUp extends InMemoryProjectionRecorder {
  override async claim(key: ProjectionKey, owner: string, leaseMs: number): Promise<ProjectionLease | undefined> {
    await this.add(key, 1)
    return await super.claim(key, owner, leaseMs)
  }
}

class BeginsAnew extends InMemoryProjectionRecorder {
  override async add(key: ProjectionKey, partitions: number): Promise<void> {
    await super.add(key, partitions)
    const lease = await this.seize(key, 'nobody', 0)
    if (lease === undefined) return
    await this.reposition(key, lease.epoch, 0n)
    await this.release(key, lease.epoch)
  }
}

class GivesALeaseToAll extends InMemoryProjectionRecorder {
  override async claim(key: ProjectionKey, owner: string, leaseMs: number): Promise<ProjectionLease | undefined> {
    return await this.seize(key, owner, leaseMs)
  }
}

class KeepsALeaseForEver extends InMemoryProjectionRecorder {
  override async claim(key: ProjectionKey, owner: string, leaseMs: number): Promise<ProjectionLease | undefined> {
    return await super.claim(key, owner, leaseMs + 3_600_000)
  }
}

class LooksAtNoEpoch extends InMemoryProjectionRecorder {
  override async batch(key: ProjectionKey, move: ProjectionMove, work: Parameters<Batch>[2]): Promise<void> {
    const lease = await super.seize(key, 'somebody', move.leaseMs)
    await super.batch(key, { ...move, epoch: lease?.epoch ?? move.epoch }, work)
  }
}

class MovesFirst extends InMemoryProjectionRecorder {
  override async batch(key: ProjectionKey, move: ProjectionMove, work: Parameters<Batch>[2]): Promise<void> {
    await super.batch(key, move, async () => undefined)
    await work({ client: undefined, stopAt: async () => undefined })
  }
}

class RenewsAll extends InMemoryProjectionRecorder {
  override async renew(owner: string, names: readonly string[], leaseMs: number): Promise<number> {
    return await super.renew(owner, names, leaseMs)
  }
}

class LetsLowerVersionsGoOn extends InMemoryProjectionRecorder {
  override async supersede(): Promise<void> {}
}

class ForgetsTheRest extends InMemoryProjectionRecorder {
  override async change(...[name, version, change]: Parameters<ProjectionRecorder['change']>): Promise<void> {
    await super.change(name, version, { reason: null, failedPosition: null, target: null, ...change })
  }
}

class ParksInOrderOfFailure extends InMemoryProjectionRecorder {
  override async parked(name: string, version: number): Promise<ParkedEvent[]> {
    return (await super.parked(name, version)).reverse()
  }
}

class TakesBackTwice extends InMemoryProjectionRecorder {
  override async unpark(name: string, version: number, notificationId?: bigint): Promise<number> {
    await super.unpark(name, version, notificationId)
    return 1
  }
}

class DividesAtOnce extends InMemoryProjectionRecorder {
  override async repartition(projection: Omit<ProjectionKey, 'partition'>, partitions: number): Promise<boolean> {
    const { name, version } = projection
    await this.change(name, version, { wanted: 'paused' })
    return await super.repartition(projection, partitions)
  }
}

class ForgetsThePause extends InMemoryProjectionRecorder {
  override async change(name: string, version: number, change: ProjectionStateChange): Promise<void> {
    const wanted = (await this.wanted(name, version)) ?? 'running'
    await super.change(name, version, { wanted, ...change })
  }
}

class HasSomethingAtFirst extends InMemoryProjectionRecorder {
  override async rows(): Promise<ProjectionRow[]> {
    const rows = await super.rows()
    if (rows.length > 0) return rows
    await this.add({ name: 'made up', version: 1, upstream: 'School', partition: 0 }, 1)
    return await super.rows()
  }
}

/** By what they do. */
export const brokenProjections: Readonly<Record<string, () => ProjectionRecorder>> = {
  'makes a part up': () => new MakesAPartUp(),
  'has something at first': () => new HasSomethingAtFirst(),
  'begins a part anew that is there': () => new BeginsAnew(),
  'gives a lease to all': () => new GivesALeaseToAll(),
  'keeps a lease for ever': () => new KeepsALeaseForEver(),
  'looks at no epoch': () => new LooksAtNoEpoch(),
  'moves before the work': () => new MovesFirst(),
  'renews what is paused': () => new RenewsAll(),
  'lets lower versions go on': () => new LetsLowerVersionsGoOn(),
  'forgets the rest of a state': () => new ForgetsTheRest(),
  'gives parked events backwards': () => new ParksInOrderOfFailure(),
  'takes events back twice': () => new TakesBackTwice(),
  'divides what is not paused': () => new DividesAtOnce(),
  'forgets that one is paused': () => new ForgetsThePause(),
}
