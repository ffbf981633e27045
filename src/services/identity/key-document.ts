import type { JSONWebKeySet } from 'jose'
import type { Runtime } from '../../context.ts'

const maxKeys = 100
const usable = new Set(['RSA', 'EC', 'OKP'])

export interface KeyDocument {
  keys: JSONWebKeySet
  /** How long ago it came from the identity provider. */
  ageMs: number
  /** Whether another process has read it. */
  shared: boolean
}

type Parts = Pick<Runtime, 'config' | 'kv' | 'cipher' | 'clock' | 'readConfigured'>

/**
 * The key set, from the identity provider or, if some process has read it within `maxAgeMs`, from what it shared.
 * What is shared is sealed: whoever can write to the shared store must not be able to name keys.
 */
export async function readKeyDocument(runtime: Parts, url: string, maxAgeMs: number): Promise<KeyDocument> {
  const place = `identity:keys:${url}`
  const shared = await readShared(runtime, place)
  if (shared !== null && shared.ageMs < maxAgeMs) return shared
  const keys = parseKeys(await runtime.readConfigured(url))
  await share(runtime, place, keys)
  return { keys, ageMs: 0, shared: false }
}

// Long enough for a process that starts to find it; what is older than a process wants is not taken.
const sharedSeconds = 600

async function readShared({ kv, cipher, clock }: Parts, place: string): Promise<KeyDocument | null> {
  try {
    const sealed = await kv.get(place)
    if (sealed === null) return null
    const { keys, readAtMs } = JSON.parse(await cipher.open(sealed, place)) as { keys: unknown; readAtMs: unknown }
    const ageMs = clock.now().getTime() - Number(readAtMs)
    return ageMs >= 0 ? { keys: parseKeys(JSON.stringify({ keys })), ageMs, shared: true } : null
  } catch {
    // Without the store, or under another key ring, the provider itself is asked.
    return null
  }
}

async function share({ kv, cipher, clock }: Parts, place: string, { keys }: JSONWebKeySet): Promise<void> {
  try {
    const document = JSON.stringify({ keys, readAtMs: clock.now().getTime() })
    await kv.set(place, await cipher.seal(document, place), sharedSeconds)
  } catch {
    // Sharing only saves others a request.
  }
}

/** Throws unless there is a public key in it. Symmetric and private keys do not belong there and are left out. */
function parseKeys(text: string): JSONWebKeySet {
  const { keys } = (JSON.parse(text) ?? {}) as { keys?: unknown }
  if (!Array.isArray(keys)) throw new Error('the answer is no key set')
  const found = keys
    .slice(0, maxKeys)
    .filter((key) => typeof key === 'object' && key !== null && usable.has(key.kty) && !('d' in key))
  if (found.length === 0) throw new Error('the key set holds no public key')
  return { keys: found }
}
