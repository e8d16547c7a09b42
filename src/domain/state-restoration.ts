/** Undoes what a failed event body changed: remembers an object's state before, and puts it back in place. */

/**
 * Remembers the state of an object and of everything that it holds, before something that may fail half-way.
 *
 * Covered are enumerable properties of objects of any class, arrays, maps, sets, dates and typed arrays, at any depth, also
 * in circles. Private `#fields` and what closures hold cannot be seen from outside and are not covered. The cost is one
 * visit per object held, paid on success too.
 *
 * @param root - the object
 * @param isSeparate - tells of an object within that it is not part of this state
 * @returns puts every remembered object back as it was, keeping its identity
 */
export function rememberState(root: object, isSeparate: (value: object) => boolean): () => void {
  const undo: (() => void)[] = []
  const seen = new Set<object>([root])
  const open: object[] = [root]
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null || seen.has(value) || isSeparate(value)) return
    seen.add(value)
    open.push(value)
  }
  for (let current = open.pop(); current !== undefined; current = open.pop()) undo.push(remember(current, visit))
  return () => {
    for (const restore of undo) restore()
  }
}

function remember(value: object, visit: (member: unknown) => void): () => void {
  if (Array.isArray(value)) return rememberArray(value, visit)
  if (value instanceof Map) return rememberMap(value, visit)
  if (value instanceof Set) return rememberSet(value, visit)
  if (value instanceof Date) return rememberDate(value)
  if (ArrayBuffer.isView(value)) return rememberBytes(value)
  return rememberProperties(value as Record<string, unknown>, visit) // any other object, read by its own keys only
}

function rememberArray(value: unknown[], visit: (member: unknown) => void): () => void {
  const before = value.slice()
  for (const member of before) visit(member)
  return () => {
    if (value.length !== before.length) value.length = before.length
    for (const [index, member] of before.entries()) if (!Object.is(value[index], member)) value[index] = member
  }
}

function rememberMap(value: Map<unknown, unknown>, visit: (member: unknown) => void): () => void {
  const before = [...value]
  for (const [key, member] of before) {
    visit(key)
    visit(member)
  }
  return () => {
    value.clear()
    for (const [key, member] of before) value.set(key, member)
  }
}

function rememberSet(value: Set<unknown>, visit: (member: unknown) => void): () => void {
  const before = [...value]
  for (const member of before) visit(member)
  return () => {
    value.clear()
    for (const member of before) value.add(member)
  }
}

function rememberDate(value: Date): () => void {
  const before = value.getTime()
  return () => {
    if (!Object.is(value.getTime(), before)) value.setTime(before)
  }
}

function rememberBytes(value: ArrayBufferView): () => void {
  const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  const before = bytes.slice()
  return () => bytes.set(before)
}

function rememberProperties(value: Record<string, unknown>, visit: (member: unknown) => void): () => void {
  const keys = Object.keys(value)
  const before = keys.map((key) => value[key])
  for (const member of before) visit(member)
  return () => {
    const kept = new Set(keys)
    for (const key of Object.keys(value)) if (!kept.has(key)) delete value[key]
    for (const [index, key] of keys.entries()) {
      const member = before[index]
      // Only what differs is written: a frozen object, which cannot have changed, would refuse.
      if (!Object.hasOwn(value, key) || !Object.is(value[key], member)) value[key] = member
    }
  }
}
