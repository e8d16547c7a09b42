/** Prints what completes the commands in a shell: made from the commands themselves, so that it has all of them. */
import { type Command, Option } from 'commander'
import type { Output } from './project.js'

/** The words that may follow a command. */
interface Place {
  /** The words up to there, such as `projections status`; empty for the program. */
  readonly path: string
  readonly words: readonly string[]
}

const shells = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
} as const

type Shell = keyof typeof shells

/** Adds `completion`. */
export function addCompletion(command: Command, output: Output): void {
  command
    .command('completion')
    .description('print what completes these commands; such as: eval "$(npx eventsourcing-prisma completion)"')
    .addOption(new Option('--shell <shell>', 'the shell').choices(Object.keys(shells)).default('bash'))
    // One of its keys, as commander has checked.
    .action(({ shell }: { readonly shell: Shell }) => output.print(shells[shell](command.name(), placesOf(command))))
}

function placesOf(command: Command, path = ''): Place[] {
  const options = command.options.filter(({ hidden }) => !hidden).map(({ long, short }) => long ?? short ?? '')
  const names = command.commands.map((each) => each.name())
  const below = command.commands.flatMap((each) => placesOf(each, path === '' ? each.name() : `${path} ${each.name()}`))
  return [{ path, words: [...names, ...options, '--help'] }, ...below]
}

function bashScript(program: string, places: readonly Place[]): string {
  const name = functionName(program)
  return `${name}() {
    local path='' word
    for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in -*) ;; *) path="\${path:+$path }$word" ;; esac
    done
    local words
    while :; do
        case "$path" in
${casesOf(places)}
            *) path="\${path% *}" ;;
        esac
    done
    COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
    [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -F ${name} ${program}`
}

/** With the functions that zsh has for those of bash. */
function zshScript(program: string, places: readonly Place[]): string {
  return `autoload -U +X bashcompinit && bashcompinit\n${bashScript(program, places)}`
}

function fishScript(program: string, places: readonly Place[]): string {
  const lines = places.map(({ path, words }) => {
    const within = path === '' ? '__fish_use_subcommand' : `__fish_seen_subcommand_from ${path.split(' ').at(-1)}`
    return `complete -c ${program} -f -n '${within}' -a '${words.join(' ')}'`
  })
  return lines.join('\n')
}

function casesOf(places: readonly Place[]): string {
  return places.map(({ path, words }) => `            '${path}') words='${words.join(' ')}'; break ;;`).join('\n')
}

function functionName(program: string): string {
  return `_${program.replaceAll('-', '_')}`
}
