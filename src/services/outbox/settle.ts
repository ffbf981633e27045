import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { Fate } from './backoff.ts'
import type { Message, Outbox } from './outbox.ts'

/** It waits, and is not due before somebody asks for it. */
export interface Held {
  state: 'pending'
  inMs: null
}

/** Writes what became of a try, and of what `set` says. False: somebody has claimed the message since, and nothing is written. */
export async function settle(
  db: Kysely<Database>,
  outbox: Outbox,
  message: Message,
  fate: Fate | Held,
  set: RawBuilder<unknown>,
): Promise<boolean> {
  const state = fate.state === 'taken' ? outbox.state.taken : fate.state
  const inMs = fate.state === 'pending' ? fate.inMs : null
  const { numAffectedRows } = await sql`
    update ${sql.table(outbox.table)} set ${sql.ref(outbox.state.column)} = ${state}::text,
      next_attempt_at = app_now() + ${inMs}::double precision * interval '1 millisecond', ${set}
    where ${isHeld(outbox, message)}`.execute(db)
  return numAffectedRows === 1n
}

/** Removes a message that is not to be sent, in place of an outcome. */
export async function discard(db: Kysely<Database>, outbox: Outbox, message: Message): Promise<void> {
  await sql`delete from ${sql.table(outbox.table)} where ${isHeld(outbox, message)}`.execute(db)
}

/** That this try is still the last one of its message. */
function isHeld({ key, state }: Outbox, message: Message): RawBuilder<boolean> {
  const itsKey = key.map((column) => sql`${sql.ref(column)} = ${message[column]}`)
  return sql`${sql.join(itsKey, sql` and `)} and attempts = ${message.attempts} and ${sql.ref(state.column)} = 'pending'`
}
