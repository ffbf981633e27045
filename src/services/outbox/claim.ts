import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import { claimSeconds, type Message, type Outbox } from './outbox.ts'

/**
 * Moves the next try behind the end of this one, in a statement that skips what another process holds. So a message is
 * in one process at a time, and one whose process is gone becomes due by itself.
 *
 * It goes from line to line of those with something pending, by the index alone. Workspaces take turns: first one of
 * each, then a second, counting what each has under way here (`held`); between equals lots are drawn, so that nobody is
 * always behind the others.
 */
export async function claim<M extends Message>(
  db: Kysely<Database>,
  outbox: Outbox,
  room: number,
  held: Record<string, number>,
): Promise<M[]> {
  const { receivers, most } = outbox
  const table = sql.table(outbox.table)
  const line = sql.ref(`o.${receivers?.column ?? 'workspace_id'}`)
  const key = (of: string) => sql.join(outbox.key.map((column) => sql.ref(`${of}.${column}`)))
  // Written out, because the indexes hold what is pending alone.
  const pending = sql`${sql.ref(`o.${outbox.state.column}`)} = 'pending' and o.next_attempt_at is not null`
  const { rows } = await sql<M>`
    with recursive lines as (
      (select ${line} as id from ${table} o where ${pending} order by ${line} limit 1)
      union all
      select (select ${line} from ${table} o where ${pending} and ${line} > l.id order by ${line} limit 1)
      from lines l where l.id is not null
    ), under_way as materialized (
      select key::uuid as id, value::integer as count from jsonb_each_text(${JSON.stringify(held)}::text::jsonb)
    ), heads as (
      select head.* from lines l
      ${receivers?.open ?? sql``}
      left join under_way u on u.id = l.id
      cross join lateral (
        select ${key('o')}, o.workspace_id, o.next_attempt_at,
          row_number() over (order by o.next_attempt_at, ${key('o')}) as place
        from ${table} o
        where ${line} = l.id and ${pending} and o.next_attempt_at <= app_now() and ${outbox.ready ?? sql`true`}
        order by o.next_attempt_at, ${key('o')}
        limit greatest(0, ${receivers?.most ?? sql`${most.workspace}::integer`} - coalesce(u.count, 0))
      ) head
    ), turns as (
      select ${key('h')}, coalesce(u.count, 0) + row_number() over (
        partition by h.workspace_id order by h.place, h.next_attempt_at, ${key('h')}) as turn
      from heads h left join under_way u on u.id = h.workspace_id
    ), candidates as materialized (
      select ${key('t')} from turns t
      where t.turn <= ${most.workspace}::integer
      order by t.turn, random()
      limit ${room}::integer
    ), locked as materialized (
      select ${key('o')} from ${table} o join candidates c on (${key('c')}) = (${key('o')})
      where ${pending} and o.next_attempt_at <= app_now()
      for update of o skip locked
    ), claimed as (
      update ${table} o set attempts = o.attempts + 1,${outbox.tries ? sql` tries = o.tries + 1,` : sql``}
        next_attempt_at = app_now() + ${claimSeconds}::integer * interval '1 second'
      from locked k where (${key('k')}) = (${key('o')})
      returning o.*
    )
    ${outbox.select ?? sql`select o.* from claimed o`}`.execute(db)
  return rows
}
