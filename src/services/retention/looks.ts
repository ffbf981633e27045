import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Config } from '../../config.ts'
import type { Database } from '../../db/database.ts'
import { databaseOf } from '../../db/scope.ts'
import type { Overdue } from './overdue.ts'
import { effectiveDays } from './policy.ts'

/** Rows that stay however old they are, for as long as something else does: `goes` asks of `x` whether nothing does any more. */
export interface Conditional extends Overdue {
  goes: RawBuilder<unknown>
}

/** The part of a workspace's rows that a pass looks at: behind `from` (null: from the oldest on), up to `to` (null: all others). */
interface Part {
  id: string
  until: string
  from_at: string | null
  from_id: string | null
  to_at: string | null
  to_id: string | null
}
/** A workspace with anything to delete there, and how much in this pass. */
export interface Due extends Part {
  share: number
}
type Cursor = Pick<Part, 'id' | 'from_at' | 'from_id'>

/** Rows of one workspace that one pass looks at most. */
const mostLooked = 5_000

/** Where the looks of this process have come to, by table, in the workspaces where they are not at the oldest row. */
const cursors = new WeakMap<object, Map<string, Cursor[]>>()

/**
 * As `dueWorkspaces`, of rows that may have to stay. Of those that do, each pass would read all anew: so it looks at a part,
 * and where that has nothing to delete the next pass goes on behind it, at the end from the oldest again.
 */
export async function lookForDue(
  db: Kysely<Database>,
  config: Config,
  what: Conditional,
  limit = mostLooked,
): Promise<Due[]> {
  let known = cursors.get(databaseOf(db))
  if (!known) cursors.set(databaseOf(db), (known = new Map()))
  const { table, time, field, goes, most } = what
  const at = sql.ref(`x.${time}`)
  const rowsOf = sql`${sql.table(table)} x where x.workspace_id = w.id and ${at} <= o.until and ${isBehind(at, sql`c`)}`
  const { rows } = await sql<{ look: Part & { found: boolean } }>`
    with looked as materialized (
      select w.id, o.until, c.from_at, c.from_id, e.at as to_at, e.id as to_id, f.found is not null as found
      from workspaces w
      left join retention_policies p on p.workspace_id = w.id
      cross join lateral (select app_now() - ${effectiveDays(field, config)} * interval '1 day' as until) o
      left join jsonb_to_recordset(${JSON.stringify(known.get(table) ?? [])}::text::jsonb)
        as c(id uuid, from_at timestamptz, from_id uuid) on c.id = w.id
      left join lateral (
        select ${at} as at, x.id from ${rowsOf} order by ${at}, x.id offset ${limit - 1}::integer limit 1
      ) e on true
      left join lateral (
        select true as found from ${rowsOf} and ${isUpTo(at, sql`e.at`, sql`e.id`)} and ${goes} order by ${at} limit 1
      ) f on true
      where o.until is not null
    )
    select to_jsonb(l) as look from looked l where found or to_at is not null or from_at is not null
    order by random()`.execute(db)
  const looks = rows.map(({ look }) => look)
  known.set(table, looks.flatMap(nextOf))
  const due = looks.filter(({ found }) => found)
  const share = Math.max(1, Math.floor(most / due.length))
  return due.slice(0, most).map((look) => ({ ...look, share }))
}

/** Where something goes the part stays the same until all of that is gone. */
function nextOf({ id, found, from_at, from_id, to_at, to_id }: Part & { found: boolean }): Cursor[] {
  const next = found ? { id, from_at, from_id } : { id, from_at: to_at, from_id: to_id }
  return next.from_at === null ? [] : [next]
}

/** As `sharesOf`, of what the look has found. `locked` leaves what somebody holds to a later pass. */
export function foundBy(
  { table, time, goes }: Conditional,
  due: readonly Due[],
  columns: RawBuilder<unknown>,
  { locked }: { locked: boolean },
) {
  const at = sql.ref(`x.${time}`)
  return sql`
    select o.* from jsonb_to_recordset(${JSON.stringify(due)}::text::jsonb) as d(id uuid, until timestamptz,
      share integer, from_at timestamptz, from_id uuid, to_at timestamptz, to_id uuid)
    cross join lateral (
      select ${columns} from ${sql.table(table)} x
      where x.workspace_id = d.id and ${at} <= d.until and ${isBehind(at, sql`d`)}
        and ${isUpTo(at, sql`d.to_at`, sql`d.to_id`)} and ${goes}
      order by ${at} limit d.share
      ${locked ? sql`for update of x skip locked` : sql``}
    ) o`
}

const firstId = '00000000-0000-0000-0000-000000000000'
const lastId = 'ffffffff-ffff-ffff-ffff-ffffffffffff'
const isBehind = (at: RawBuilder<unknown>, of: RawBuilder<unknown>) =>
  sql`(${at}, x.id) > (coalesce(${of}.from_at, '-infinity'), coalesce(${of}.from_id, ${firstId}::text::uuid))`
const isUpTo = (at: RawBuilder<unknown>, toAt: RawBuilder<unknown>, toId: RawBuilder<unknown>) =>
  sql`(${at}, x.id) <= (coalesce(${toAt}, 'infinity'), coalesce(${toId}, ${lastId}::text::uuid))`
