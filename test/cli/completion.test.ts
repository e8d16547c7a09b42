/** The completion for shells: bash itself completes with it. */
import { spawnSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { run } from '../../src/cli/program.js'

async function script(shell: string): Promise<string> {
  const out: string[] = []
  const print = (line: string): void => void out.push(line)
  expect(await run(['completion', '--shell', shell], { print, complain: print })).toBe(0)
  return out.join('\n')
}

describe('completion', () => {
  /** What bash offers behind some words. */
  async function offered(...words: readonly string[]): Promise<string[]> {
    const line = ['eventsourcing-prisma', ...words].map((word) => `'${word}'`).join(' ')
    const ask = `COMP_WORDS=(${line}); COMP_CWORD=${words.length}; _eventsourcing_prisma; printf '%s\\n' "\${COMPREPLY[@]}"`
    const { stdout, stderr } = spawnSync('bash', ['-c', `${await script('bash')}\n${ask}`], { encoding: 'utf8' })
    expect(stderr).toBe('')
    return stdout.trim().split('\n')
  }

  it('offers commands, those below them, and their options in bash', async () => {
    expect(await offered('proj')).toEqual(['projections'])
    expect(await offered('projections', 'st')).toEqual(['status'])
    expect(await offered('projections', 'status', '--js')).toEqual(['--json'])
    expect(await offered('--version', 'state', 'an id', '--ver')).toEqual(['--version'])
    expect(await offered('tail', '')).toEqual(expect.arrayContaining(['--topics', '--last', '--once', '--help']))
  })

  it('is printed for zsh and fish as well', async () => {
    expect(await script('zsh')).toMatch(/bashcompinit[^]*complete -F _eventsourcing_prisma eventsourcing-prisma$/)
    expect(await script('fish')).toContain(
      "complete -c eventsourcing-prisma -f -n '__fish_seen_subcommand_from status'",
    )
  })
})
