import type { WakeSignal } from '../../context.ts'
import { anyCaller, anyRun } from '../../lib/any-run.ts'

/** Beyond this many runs of a kind a batch says "any": 3 kinds of 60 UUIDs stay below NOTIFY's 8000 bytes. */
const maxIds = 60

const fields = { 'run-ready': 'r', command: 'c', events: 'e' } as const
type RunKind = keyof typeof fields
const kinds = Object.keys(fields) as RunKind[]

/** Signals gathered for one NOTIFY: each run once a kind. Changes of callers the database tells by itself, in their commit. */
export class WakeBatch {
  readonly #runs = new Map<RunKind, Set<string>>(kinds.map((kind) => [kind, new Set()]))
  #schedules = false

  get empty(): boolean {
    return !this.#schedules && [...this.#runs.values()].every((ids) => ids.size === 0)
  }

  add(signal: WakeSignal): void {
    if (signal.kind === 'schedules-changed') this.#schedules = true
    else if ('runId' in signal) this.#runs.get(signal.kind)?.add(signal.runId)
  }

  toPayload(sender: string): string {
    const payload: Record<string, unknown> = { p: sender }
    for (const [kind, ids] of this.#runs) {
      if (ids.size > 0) payload[fields[kind]] = ids.size > maxIds ? [anyRun] : [...ids]
    }
    if (this.#schedules) payload['s'] = 1
    return JSON.stringify(payload)
  }
}

/** The signals of a payload; none for one that `self` sent, or that is not ours to read. */
export function readPayload(payload: string, self: string): WakeSignal[] {
  const parsed = parseObject(payload)
  if (!parsed || parsed['p'] === self) return []
  const signals: WakeSignal[] = []
  for (const kind of kinds) for (const runId of textsOf(parsed[fields[kind]])) signals.push({ kind, runId })
  for (const callerId of textsOf(parsed['k'])) signals.push({ kind: 'callers-changed', callerId })
  if (parsed['s']) signals.push({ kind: 'schedules-changed' })
  if (parsed['t']) signals.push({ kind: 'settings-changed' })
  return signals
}

const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : []

/** What to tell listeners when signals may have been missed. */
export const everySignal: readonly WakeSignal[] = [
  ...kinds.map((kind) => ({ kind, runId: anyRun })),
  { kind: 'callers-changed', callerId: anyCaller },
  { kind: 'schedules-changed' },
  { kind: 'settings-changed' },
]

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch {
    // Anyone with the database's password may NOTIFY on the channel.
    return null
  }
}
