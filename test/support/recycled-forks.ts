/** Processes that run several test files one after the other: each imports Prisma and the frameworks once. */
import { ForksPoolWorker, type PoolOptions, type WorkerRequest } from 'vitest/node'

/** What files leave in a process, such as copies of the modules, grows with them. */
const filesPerProcess = 32

/** These have a process of their own: they look at the process, fill its memory, or start others all the time. */
export const alone: RegExp =
  /\/test\/(bounds|cli|guides|observability|paths|properties|readme|restarts|runtimes|third-party|toolchains|torture)\//

interface Files {
  readonly context: { readonly files: ReadonlyArray<{ readonly filepath: string }> }
}

const isAlone = ({ context }: Files): boolean => context.files.some(({ filepath }) => alone.test(filepath))

class RecycledFork extends ForksPoolWorker {
  override readonly name = 'recycled-forks'
  #files = 0

  override send(message: WorkerRequest): void {
    if (message.type === 'run') this.#files += isAlone(message) ? filesPerProcess : 1
    super.send(message)
  }

  canReuse(task: Files): boolean {
    return this.#files < filesPerProcess && !isAlone(task)
  }
}

/** As a pool of Vitest. */
export const recycledForks = {
  name: 'recycled-forks',
  createPoolWorker: (options: PoolOptions): RecycledFork => new RecycledFork(options),
}
