/** What is used of autocannon, which comes without types. */
declare module 'autocannon' {
  interface Options {
    readonly url: string
    readonly connections: number
    /** How many requests in all. */
    readonly amount: number
    /** Sent in turns. */
    readonly requests: ReadonlyArray<{ readonly method: string; readonly path: string }>
    /** Milliseconds between its looks at what is done. */
    readonly sampleInt: number
  }

  interface Run extends PromiseLike<Result> {
    on(event: 'response', listener: () => void): unknown
  }

  interface Result {
    readonly '2xx': number
    readonly errors: number
    readonly timeouts: number
  }

  export default function autocannon(options: Options): Run
}
