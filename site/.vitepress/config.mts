/** The site of the documentation: `scripts/site.mjs` gathers its pages. */
import { defineConfig } from 'vitepress'

const page = (text: string, link: string): { text: string; link: string } => ({ text, link: `/docs/${link}` })

export default defineConfig({
  title: 'eventsourcing-prisma',
  description: 'Event sourcing inside your Prisma database: events and rows in one transaction per request',
  srcDir: 'dist/pages',
  outDir: 'dist/site',
  cacheDir: 'dist/cache',
  cleanUrls: true,
  // The script has checked the links, headings included.
  ignoreDeadLinks: true,
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [
      { text: 'Start', link: '/' },
      { text: 'Reference', link: '/reference/README' },
      { text: 'Changelog', link: '/CHANGELOG' },
    ],
    sidebar: [
      {
        text: 'Start',
        items: [
          { text: 'Overview', link: '/' },
          page('Tutorial', 'tutorial'),
          page('Four first hours', 'first-hour'),
          page('First mistakes', 'first-mistakes'),
          page('Only the transaction', 'guides/only-the-transaction'),
        ],
      },
      {
        text: 'Coming from',
        items: [
          page('Hand-written Prisma', 'coming-from-prisma'),
          page('nestjs-cls, @fastify/postgres', 'guides/migrating'),
          page('Emmett', 'coming-from-emmett'),
          page('Python', 'coming-from-python'),
        ],
      },
      {
        text: 'Requests',
        items: [
          page('HTTP', 'http'),
          page('Transactions', 'transactions'),
          page('Idempotency keys', 'idempotency'),
          page('Beside other middlewares', 'middleware'),
          page('NestJS', 'guides/nestjs'),
          page('GraphQL and tRPC', 'guides/graphql-trpc'),
          page('Shutdown', 'shutdown'),
        ],
      },
      {
        text: 'Events',
        items: [
          page('Values', 'values'),
          page('Decorators', 'decorators'),
          page('Decisions by tags', 'guides/decisions-by-tags'),
          page('Erasure', 'erasure'),
          page('Testing', 'testing'),
          page('Errors', 'errors'),
        ],
      },
      {
        text: 'After the commit',
        items: [
          page('Projections', 'guides/projections'),
          page('Reactions and process managers', 'guides/reactions'),
          page('Timers', 'guides/timers'),
          page('Following the log', 'guides/following-the-log'),
          page('To a broker and back', 'guides/relays'),
          page('Systems', 'guides/systems'),
          page('When one machine is not enough', 'guides/scaling'),
        ],
      },
      {
        text: 'Operations',
        items: [
          page('Operations', 'operations'),
          page('Observability', 'observability'),
          page('Commands for a log', 'commands'),
          page('Commands for projections', 'projection-commands'),
          page('The event browser', 'browser'),
          page('One table with Python', 'python'),
          page('Torture', 'torture'),
        ],
      },
      {
        text: 'Inside',
        items: [
          page('The package', 'package'),
          page('Node, Bun and Deno', 'runtimes'),
          page('Prisma 8', 'prisma-8'),
          page('Architecture', 'architecture'),
          page('Conformance', 'conformance'),
        ],
      },
    ],
  },
})
