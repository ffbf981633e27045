import type { RawBuilder } from 'kysely'

/**
 * A transactional outbox: messages for receivers outside, each a row that was written in the transaction that made it
 * true. Any process sends them, one at a time each: a try is claimed for as long as it can take, and writes its outcome
 * only where nobody has claimed the message since.
 */
export interface Outbox {
  table: 'failure_notices' | 'schedule_events' | 'webhook_deliveries'
  /** Columns of its primary key. */
  key: readonly string[]
  /** Where it says how far a message has come, and how it calls what was taken. What waits is `pending`, what was given up `failed`. */
  state: { column: 'delivery' | 'status'; taken: 'sent' | 'delivered' }
  /** Waits before the second try and each further one: behind the last it is given up. */
  delaysMs: readonly number[]
  /** Counts tries since the message was last asked for, where that may be more than once. Default: `attempts`, the number of all. */
  tries?: 'tries'
  /** Tries that one pass begins, that are under way in a process, and those of one workspace among them. */
  most: { pass: number; process: number; workspace: number }
  /** Where the receivers of a workspace stand in line apart: by which column, what is joined to a line `l` that is open, and its share. */
  receivers?: { column: string; open: RawBuilder<unknown>; most: RawBuilder<number> }
  /** What else must hold of a message `o`. No join, so that its line is read in the order of its index. */
  ready?: RawBuilder<boolean>
  /** The claimed `o` with what their sending needs of other tables. */
  select?: RawBuilder<unknown>
}

/** A claimed message: the columns of its row, and what `select` adds. */
export interface Message {
  workspace_id: string
  /** Which try this is: nobody else has the same. */
  attempts: number
  [column: string]: unknown
}

export const tryTimeoutMs = 10_000
/** Longer than a try can take: of whoever has written no outcome by then the next takes over. */
export const claimSeconds = 60

/** Whom a try is for, each counted by itself: its workspace, and its receiver where that has a line of its own. */
export function linesOf({ receivers }: Outbox, message: Message): string[] {
  return receivers ? [message.workspace_id, String(message[receivers.column])] : [message.workspace_id]
}
