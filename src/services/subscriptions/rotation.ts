import { AppError } from '../../lib/errors.ts'
import { parseDuration } from '../../lib/duration.ts'
import { formatSecret, keyOfSecret } from '../../lib/standard-webhooks.ts'

export interface Rotation {
  secret?: string | undefined
  /** How long the secret that is replaced stays valid beside the new one. */
  keep_previous?: string | undefined
}

export const longestOverlapMs = 7 * 86_400_000
const defaultOverlap = '24h'

/** A secret of our making: 32 bytes, as Standard Webhooks writes it. */
export const newSecret = (random: (bytes: number) => Uint8Array): string => formatSecret(random(32))

/** What signs as Standard Webhooks signs needs a secret that is a key of at least 16 bytes. */
export function checkStandardSecret(secret: string, pointer: string): void {
  const key = keyOfSecret(secret)
  if (key !== null && key.length >= 16 && key.length <= 64) return
  const detail = 'must be whsec_ and the base64 of 16 to 64 bytes'
  throw new AppError('invalid', `The secret ${detail}.`, { errors: [{ pointer, detail }] })
}

/** Milliseconds that the previous secret stays valid. */
export function overlapOf({ keep_previous = defaultOverlap }: Rotation): number {
  const ms = parseDuration(keep_previous)
  if (ms !== null && ms <= longestOverlapMs) return ms
  const detail = 'must be a duration such as 24h, of 7 days at most'
  throw new AppError('invalid', `keep_previous ${detail}.`, { errors: [{ pointer: '/keep_previous', detail }] })
}
