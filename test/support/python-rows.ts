/** Rows that the Python library wrote, in four ways, and the mappers that read them. */
import { readFileSync } from 'node:fs'
import { AESCipher, JSONTranscoder, Mapper, type StoredEvent, ZlibCompressor } from '../../src/index.js'

interface PythonRow {
  readonly originator_id: string
  readonly originator_version: number
  readonly topic: string
  readonly state: string
}

interface PythonRows {
  readonly cipher_key: string
  readonly sets: Readonly<
    Record<string, { readonly stored_events: PythonRow[]; readonly stored_snapshots: PythonRow[] }>
  >
}

/** Rows that were written with the same settings. */
export interface PythonSet {
  readonly name: string
  readonly mapper: Mapper
  /** The variables with which an application reads them. */
  readonly env: Readonly<Record<string, string>>
  readonly isCompressed: boolean
  readonly isEncrypted: boolean
  readonly events: readonly StoredEvent[]
  readonly snapshots: readonly StoredEvent[]
}

// The fixture's shape is known: it is checked in.
const rows = JSON.parse(readFileSync(new URL('../fixtures/python-rows.json', import.meta.url), 'utf8')) as PythonRows

/** The key of the encrypted sets, in base64. */
export const pythonKey: string = rows.cipher_key

/** All sets: plain, zlib, aes, zlib_aes. */
export const pythonSets: readonly PythonSet[] = Object.entries(rows.sets).map(([name, set]) => {
  const isCompressed = name.includes('zlib')
  const isEncrypted = name.includes('aes')
  return {
    name,
    isCompressed,
    isEncrypted,
    mapper: new Mapper({
      transcoder: new JSONTranscoder(),
      compressor: isCompressed ? new ZlibCompressor() : undefined,
      cipher: isEncrypted ? new AESCipher(pythonKey) : undefined,
    }),
    env: {
      ...(isCompressed ? { COMPRESSOR_TOPIC: 'zlib' } : {}),
      ...(isEncrypted ? { CIPHER_KEY: pythonKey } : {}),
    },
    events: set.stored_events.map(storedOf),
    snapshots: set.stored_snapshots.map(storedOf),
  }
})

function storedOf(row: PythonRow): StoredEvent {
  return {
    originatorId: row.originator_id,
    originatorVersion: row.originator_version,
    topic: row.topic,
    state: Uint8Array.from(Buffer.from(row.state, 'hex')),
  }
}
