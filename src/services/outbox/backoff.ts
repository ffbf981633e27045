import type { Runtime } from '../../context.ts'
import type { Message, Outbox } from './outbox.ts'

/** What becomes of a message behind a try. */
export type Fate = { state: 'taken' } | { state: 'failed' } | { state: 'pending'; inMs: number }

export interface Refusal {
  /** What the receiver asked for. */
  retryAfterMs?: number | null | undefined
  /** Nobody will take it, however often it is sent. */
  isFinal?: boolean
}

/** A receiver may ask for no more than this. */
const maxRetryAfterMs = 24 * 3_600_000

/** Null: the message was taken. Else it comes again after its delay, or as late as the receiver asks for, until the delays are used up. */
export function fateOf(
  { delaysMs, tries }: Pick<Outbox, 'delaysMs' | 'tries'>,
  message: Message,
  refusal: Refusal | null,
  { random }: Pick<Runtime, 'random'>,
): Fate {
  if (refusal === null) return { state: 'taken' }
  const delayMs = delaysMs[Number(message[tries ?? 'attempts']) - 1]
  if (refusal.isFinal || delayMs === undefined) return { state: 'failed' }
  return {
    state: 'pending',
    inMs: Math.max(jittered(delayMs, random), Math.min(refusal.retryAfterMs ?? 0, maxRetryAfterMs)),
  }
}

/** Up to a fifth more, so that what failed together does not come back together. */
const jittered = (ms: number, random: Runtime['random']) => Math.round(ms * (1 + (random(1)[0]! / 255) * 0.2))
