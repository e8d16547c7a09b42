/** `npm run demo:orders` tells its story to the end, with the broker within its process and with NATS JetStream. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { natsUrl } from '../relay/brokers.js'

const root = fileURLToPath(new URL('../..', import.meta.url))

const brokers: ReadonlyArray<readonly [name: string, url: string | undefined]> = [
  ['a broker within the process', undefined],
  ...(natsUrl === undefined ? [] : [['NATS JetStream', natsUrl] as const]),
]

it.each(brokers)(
  'the story of three orders comes to its end with %s',
  (_name, url) => {
    const { NATS_URL: _url, ...rest } = process.env
    const env = url === undefined ? rest : { ...rest, NATS_URL: url }
    const told = spawnSync(process.execPath, ['--import', 'tsx', 'examples/orders/main.ts'], {
      cwd: root,
      env,
      encoding: 'utf8',
    })
    expect([told.status, told.stderr]).toEqual([0, ''])
    const lines = told.stdout.split('\n')
    const ends = lines.filter((line) => /'(Ann|Bob|Cleo)'/.test(line)).map((line) => line.match(/'\w+'/g)?.join(' '))
    expect(ends).toEqual(["'Ann' 'shipped' 'made'", "'Bob' 'cancelled' 'requested'", "'Cleo' 'cancelled' 'refunded'"])
    // Each once, although messages come twice.
    for (const topic of ['Payment.Refunded', 'Order.Shipped', 'Fulfilment.Completed', 'Fulfilment.PaidTooLate']) {
      expect(lines.filter((line) => line.includes(`stores ${topic}`))).toHaveLength(1)
    }
    if (url === undefined) expect(told.stdout).toContain('passes over it')
  },
  120_000,
)
