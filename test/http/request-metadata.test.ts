/** The ids of a request become metadata only in the form that they have by their standards. */
import { describe, expect, it } from 'vitest'
import { requestMetadata } from '../../adapters/http.js'

const trace = '4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'

describe('the metadata of a request', () => {
  it.each([
    ['r-1', 7, 'r-1'],
    ['x'.repeat(128), 7, 'x'.repeat(128)],
    [undefined, 'req-1', 'req-1'],
    [undefined, 7, 7],
    ['x'.repeat(129), 'req-1', 'req-1'],
    ['a b', 'req-1', 'req-1'],
    ['a\nforged: line', 'req-1', 'req-1'],
    ['ä', 'req-1', 'req-1'],
    ['', 'req-1', 'req-1'],
    [['a', 'b'], 'req-1', 'req-1'],
    ['a b', 'x y', undefined],
    [undefined, undefined, undefined],
    [undefined, { id: 1 }, undefined],
  ])('has x-request-id %j and the id %j as %j', (header, id, expected) => {
    expect(requestMetadata({ id, headers: { 'x-request-id': header } })).toEqual(
      expected === undefined ? {} : { correlationId: expected },
    )
  })

  it.each([
    [`00-${trace}`, `00-${trace}`],
    [`01-${trace}`, `01-${trace}`],
    [`01-${trace}-more-of-it`, `01-${trace}`],
    [`00-${trace}-more`, undefined],
    [`01-${trace}more`, undefined],
    [`ff-${trace}`, undefined],
    [`00-${trace.toUpperCase()}`, undefined],
    [`00-${'0'.repeat(32)}-00f067aa0ba902b7-01`, undefined],
    [`00-4bf92f3577b34da6a3ce929d0e0e4736-${'0'.repeat(16)}-01`, undefined],
    [`00-${trace}\n`, undefined],
    ['0'.repeat(10_000), undefined],
    ['', undefined],
    [[`00-${trace}`], undefined],
  ])('has traceparent %j as %j', (traceparent, expected) => {
    expect(requestMetadata({ headers: { traceparent } })).toEqual(
      expected === undefined ? {} : { traceparent: expected },
    )
  })
})
