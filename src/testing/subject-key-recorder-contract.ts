/** What every subject key recorder promises. */
import type { SubjectKey, SubjectKeyRecorder } from '../persistence/recorder.js'
import { type Cases, declareCases, type MakeRecorder, type TestFramework } from './test-framework.js'

/**
 * Declares the cases.
 *
 * @param framework - of the caller
 * @param label - names the implementation in the names of the groups
 * @param makeRecorder - called once per case
 */
export function subjectKeyRecorderContract(
  framework: TestFramework,
  label: string,
  makeRecorder: MakeRecorder<SubjectKeyRecorder>,
): void {
  declareCases(framework, `${label} as a subject key recorder`, cases, makeRecorder)
}

function keyOf(subject: string, ...bytes: readonly number[]): SubjectKey {
  return { subject, key: new Uint8Array(bytes) }
}

/** The keys as texts in order, which is what can be compared. */
function written(keys: readonly SubjectKey[]): string[] {
  return keys.map(({ subject, key }) => `${subject}=${[...key].join('.')}`).sort()
}

const cases: Cases<SubjectKeyRecorder> = {
  async 'has no keys at first'({ recorder, expect }) {
    expect(await recorder.selectKeys(['ann'])).toEqual([])
    expect(await recorder.selectKeys([])).toEqual([])
    expect(await recorder.insertKeys([])).toEqual([])
    expect(await recorder.deleteKey('ann')).toEqual(false)
  },

  async 'gives back the bytes of those that are asked for'({ recorder, expect }) {
    const inserted = await recorder.insertKeys([keyOf('ann', 0, 255, 128), keyOf('bob', 1)])
    expect(written(inserted)).toEqual(['ann=0.255.128', 'bob=1'])
    expect(written(await recorder.selectKeys(['ann', 'ann', 'cid']))).toEqual(['ann=0.255.128'])
    expect(written(await recorder.selectKeys(['bob', 'ann']))).toEqual(['ann=0.255.128', 'bob=1'])
  },

  async 'keeps its own bytes, whatever becomes of those that it was given or has given'({ recorder, expect }) {
    const given = keyOf('ann', 1)
    const inserted = await recorder.insertKeys([given])
    given.key.fill(9)
    for (const { key } of [...inserted, ...(await recorder.selectKeys(['ann']))]) key.fill(8)
    expect(written(await recorder.selectKeys(['ann']))).toEqual(['ann=1'])
  },

  async 'keeps the first key of a person, and gives it to whoever brings another'({ recorder, expect }) {
    await recorder.insertKeys([keyOf('ann', 1)])
    expect(written(await recorder.insertKeys([keyOf('bob', 2), keyOf('ann', 3)]))).toEqual(['ann=1', 'bob=2'])
    expect(written(await recorder.insertKeys([keyOf('cid', 4), keyOf('cid', 5)]))).toEqual(['cid=4'])
    expect(written(await recorder.selectKeys(['ann', 'cid']))).toEqual(['ann=1', 'cid=4'])
  },

  async 'forgets one person alone, who may have another key later'({ recorder, expect }) {
    await recorder.insertKeys([keyOf('ann', 1), keyOf('bob', 2)])
    expect(await recorder.deleteKey('ann')).toEqual(true)
    expect(await recorder.deleteKey('ann')).toEqual(false)
    expect(written(await recorder.selectKeys(['ann', 'bob']))).toEqual(['bob=2'])
    expect(written(await recorder.insertKeys([keyOf('ann', 3)]))).toEqual(['ann=3'])
  },

  async 'takes names for different ones that differ at all'({ recorder, expect }) {
    const names = ['ann', 'Ann', 'ann ', 'änn', 'a\u0308nn', "o'ann", 'ann\\', '安', 'x'.repeat(255), '😀'.repeat(127)]
    const inserted = await recorder.insertKeys(names.map((name, index) => keyOf(name, index)))
    expect(written(inserted)).toEqual(written(names.map((name, index) => keyOf(name, index))))
    expect(await recorder.deleteKey('ANN')).toEqual(false)
    expect(await recorder.deleteKey('ann')).toEqual(true)
    expect(written(await recorder.selectKeys(names))).toEqual(
      written(names.slice(1).map((name, index) => keyOf(name, index + 1))),
    )
  },

  async 'takes many at once'({ recorder, expect }) {
    const many = Array.from({ length: 1000 }, (_, index) => keyOf(`person ${index}`, index % 256))
    expect(written(await recorder.insertKeys(many))).toEqual(written(many))
    expect(written(await recorder.selectKeys(many.map(({ subject }) => subject)))).toEqual(written(many))
  },
}
