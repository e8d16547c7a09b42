/** Carries out a Dockerfile as far as that goes without Docker: each stage is a folder on this machine, with the Node that runs. */
import { join } from 'node:path'
import { Newcomer, type NewcomerOptions } from './newcomer.js'

/** A stage of a Dockerfile. */
export class Stage {
  readonly shell: Newcomer
  readonly #env: Record<string, string> = {}
  readonly #origins: ReadonlyMap<string, string>
  /** What its image would run. */
  cmd: readonly string[] = []

  /** @param origins - the folders that files are copied from: those of earlier stages, and the context under an empty name */
  constructor(options: NewcomerOptions, origins: ReadonlyMap<string, string>) {
    this.shell = new Newcomer(options)
    this.#origins = origins
  }

  /** Carries out one line. */
  async step(line: string): Promise<void> {
    const [, instruction = '', rest = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? []
    switch (instruction) {
      case 'COPY':
        return await this.#copy(rest)
      case 'RUN':
        return rest.startsWith('npm ci') ? await this.#install(rest) : void (await this.shell.succeed(rest, this.#env))
      case 'ENV':
        return void Object.assign(this.#env, Object.fromEntries([rest.split('=')]))
      case 'CMD':
        this.cmd = JSON.parse(rest) as readonly string[] // in the form of a list
        return
      case 'WORKDIR':
      case 'USER':
        return
      default:
        throw new Error(`Not known: ${line}`)
    }
  }

  /** Installs what is installed already in the context, which takes npm longer than all the rest. */
  async #install(command: string): Promise<void> {
    // Refuses a lock file that does not fit.
    await this.shell.succeed(`${command} --dry-run`, this.#env)
    await this.shell.succeed(`cp -al '${this.#origins.get('')}/node_modules' .`)
    if (command.includes('--omit=dev')) await this.shell.succeed('npm prune --omit=dev', this.#env)
  }

  async #copy(rest: string): Promise<void> {
    const [, origin = '', paths = ''] = /^(?:--from=(\w+) )?(.*)$/.exec(rest) ?? []
    const files = paths.split(' ').map((path) => path.replace(/^\/app\//, ''))
    const target = join(this.shell.folder, files.pop() ?? '')
    await this.shell.succeed(`cd '${this.#origins.get(origin)}' && cp -r ${files.join(' ')} '${target}'`)
  }
}

/**
 * Knows `FROM … AS`, `WORKDIR /app`, `COPY`, `RUN`, `ENV`, `USER` and `CMD`; refuses anything else.
 *
 * @param context - the folder that an image would be built from
 * @param options - of the stages' shells; stages are folders below `folder`
 * @returns the last stage
 */
export async function carryOut(dockerfile: string, context: string, options: NewcomerOptions): Promise<Stage> {
  const origins = new Map([['', context]])
  let stage: Stage | undefined
  for (const [index, part] of dockerfile
    .split(/^FROM /m)
    .slice(1)
    .entries()) {
    const [from = '', ...lines] = part.trim().split('\n')
    const name = / AS (\w+)$/.exec(from)?.[1] ?? String(index)
    stage = new Stage({ ...options, folder: join(options.folder, name) }, new Map(origins))
    for (const line of lines) if (line !== '') await stage.step(line)
    origins.set(name, stage.shell.folder)
  }
  if (stage === undefined) throw new Error('The Dockerfile has no stage.')
  return stage
}
