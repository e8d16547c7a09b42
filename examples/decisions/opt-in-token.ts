/** A sign-up is confirmed once, by the token that was sent, and in time. */
import { Application, defineEvent, facts, secret, typed } from 'eventsourcing-prisma'

const SignUpStarted = defineEvent('SignUpStarted', typed<{ email: string; token: string; at: number }>(), {
  tags: ({ email, token }) => ({ email: secret(email), token: secret(token) }),
})
const SignUpConfirmed = defineEvent('SignUpConfirmed', typed<{ email: string; token: string }>(), {
  tags: ({ email, token }) => ({ email: secret(email), token: secret(token) }),
})

interface SignUp {
  readonly startedAt: number
  readonly isConfirmed: boolean
}

const signUp = (email: string, token: string) =>
  facts({ email: secret(email), token: secret(token) }, undefined as SignUp | undefined, (when) => [
    when(SignUpStarted, (_before, { at }) => ({ startedAt: at, isConfirmed: false })),
    when(SignUpConfirmed, (before) => before && { ...before, isConfirmed: true }),
  ])

const longestMs = 60 * 60 * 1000

export class SignUps extends Application {
  async start(email: string, token: string, at: number): Promise<void> {
    await this.decide({ known: signUp(email, token) }, ({ known }) =>
      known === undefined ? [SignUpStarted({ email, token, at })] : [],
    )
  }

  async confirm(email: string, token: string, now: number): Promise<void> {
    await this.decide({ known: signUp(email, token) }, ({ known }) => {
      if (known === undefined) throw new Error('There is no such sign-up')
      if (known.isConfirmed) throw new Error('The token was used')
      if (now - known.startedAt > longestMs) throw new Error('The token is too old')
      return [SignUpConfirmed({ email, token })]
    })
  }
}
