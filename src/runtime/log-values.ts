const maxDepth = 6
const maxItems = 100
const maxText = 10_000
const hidden = '***'

/** Names whose values never show, compared without case, `-` and `_`: `X-Api-Key` and `apiKey` alike. */
const secretNames = [
  'password',
  'passwd',
  'secret',
  'token',
  'apikey',
  'accesskey',
  'privatekey',
  'encryptionkey',
  'authorization',
  'cookie',
]
const isSecretName = (name: string) => {
  const bare = name.toLowerCase().replace(/[-_]/g, '')
  return secretNames.some((secret) => bare.endsWith(secret))
}

/** Turns any value into plain JSON data of bounded size, with errors spelled out and secrets hidden. Never throws. */
export function toPlain(value: unknown, depth = 0, seen: unknown[] = []): unknown {
  switch (typeof value) {
    case 'string':
      return value.length > maxText ? `${value.slice(0, maxText)}… (${value.length} characters)` : value
    case 'number':
      return Number.isFinite(value) ? value : String(value)
    case 'bigint':
    case 'symbol':
      return String(value)
    case 'function':
      return `[function ${value.name}]`
    case 'object':
      break
    default:
      return value
  }
  if (value === null) return null
  if (seen.includes(value)) return '[circular]'
  if (depth > maxDepth) return '[deeper]'
  const path = [...seen, value]
  try {
    if (value instanceof Error) return plainError(value, depth, path)
    if (value instanceof Date) return Number.isNaN(value.getTime()) ? 'Invalid Date' : value.toISOString()
    if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `[${value.byteLength} bytes]`
    if (value instanceof Headers) return plainEntries([...value.entries()], depth, path)
    if (value instanceof Map)
      return plainEntries(
        [...value].map(([k, v]) => [String(k), v] as const),
        depth,
        path,
      )
    if (value instanceof Set) return toPlain([...value], depth, path)
    if (Array.isArray(value)) {
      const items = value.slice(0, maxItems).map((item) => toPlain(item, depth + 1, path))
      return value.length > maxItems ? [...items, `… ${value.length - maxItems} more`] : items
    }
    // Secret and URL say by themselves what may be shown.
    if ('toJSON' in value && typeof value.toJSON === 'function') return toPlain(value.toJSON(), depth + 1, path)
    return plainEntries(Object.entries(value), depth, path)
  } catch (error) {
    return `[unreadable: ${String(error)}]`
  }
}

function plainEntries(entries: readonly (readonly [string, unknown])[], depth: number, path: unknown[]): object {
  const plain: Record<string, unknown> = Object.create(null)
  for (const [name, value] of entries.slice(0, maxItems)) {
    if (value === undefined) continue
    plain[name] = isSecretName(name) && value !== null ? hidden : toPlain(value, depth + 1, path)
  }
  return plain
}

/** Of an error's own fields only these: driver errors carry whole queries with their parameters, some the request. */
const errorFields = ['code', 'status', 'kind', 'errno', 'syscall', 'constraint', 'table', 'errors', 'cause'] as const

function plainError(error: Error, depth: number, path: unknown[]): object {
  const plain: Record<string, unknown> = {
    name: error.name,
    message: toPlain(error.message),
    stack: toPlain(error.stack),
  }
  const fields = error as Partial<Record<(typeof errorFields)[number], unknown>>
  for (const field of errorFields) {
    if (fields[field] !== undefined) plain[field] = toPlain(fields[field], depth + 1, path)
  }
  return plain
}
