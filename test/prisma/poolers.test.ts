/** What a connection pooler before PostgreSQL says by itself. */
import { expect, it } from 'vitest'
import { CommitUnknownError, OperationalError, ProgrammingError } from '../../src/index.js'
import { dialectOf } from '../../src/prisma/dialects/by-provider.js'
import { translateError, translateLoneWriteError } from '../../src/prisma/translate-error.js'

const postgresql = dialectOf('postgres')
const said = (message: string, code = '08P01'): Error =>
  Object.assign(new Error(message), { name: 'DriverAdapterError', cause: { kind: 'postgres', code, message } })

it.each([
  'query_wait_timeout',
  'no more connections allowed (max_client_conn)',
  'server login has been failing, try again later (server_login_retry)',
])('%s may pass, and nothing was stored', (message) => {
  for (const translate of [translateError, translateLoneWriteError]) {
    const error = translate(postgresql, said(message), 'append')
    expect(error).toBeInstanceOf(OperationalError)
    expect(error).toMatchObject({ retryable: true, message: expect.stringMatching(/sent nothing.*Try again later/) })
  }
})

it.each(['server conn crashed?', 'admin forced disconnect', 'database configuration changed'])(
  '%s may pass; a statement by itself may be stored',
  (message) => {
    expect(translateError(postgresql, said(message), 'append')).toMatchObject({ retryable: true })
    expect(translateLoneWriteError(postgresql, said(message), 'append')).toBeInstanceOf(CommitUnknownError)
  },
)

it('a message of PostgreSQL that is no message of the protocol does not pass', () => {
  const error = translateError(postgresql, said('bind message supplies 1 parameters'), 'append')
  expect(error).toMatchObject({ retryable: false })
})

it.each([
  ['42P05', 'prepared statement "es_1" already exists'],
  ['26000', 'prepared statement "es_1" does not exist'],
])('%s says what to do with prepared statements', (code, message) => {
  const error = translateError(postgresql, said(message, code), 'append')
  expect(error).toBeInstanceOf(ProgrammingError)
  expect(error.message).toMatch(/pooler.*max_prepared_statements.*statementNameGenerator/)
})
