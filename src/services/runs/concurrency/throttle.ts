import { sql, type Kysely } from 'kysely'
import type { Database } from '../../../db/database.ts'
import { toJsonText } from '../../../db/json.ts'
import type { PolicedRun } from './admit.ts'

/** Nobody waits longer for a place: the longest period that a throttle may have. */
const farthestDays = 366
const farthestMs = farthestDays * 86_400_000

export interface Places {
  /** When a run starts that cannot start now. */
  later: Map<string, Date>
  /** Runs for which there is no place, and in how many seconds there may be one. */
  refused: Map<string, number>
}

export const noPlace = `The throttle of the recipe has no place within the next ${farthestDays} days.`

interface Line {
  line: string
  workspaceId: string
  limit: number
  periodMs: number
  runs: string[]
}

/**
 * The next free places of throttles: now, or a period after the start that is as many places back as the limit says. So any
 * period holds at most as many. Each line is read and written once, however many runs ask.
 */
export async function takePlaces(tx: Kysely<Database>, runs: readonly PolicedRun[]): Promise<Places> {
  const places: Places = { later: new Map(), refused: new Map() }
  const lines = new Map<string, Line>()
  for (const { id, workspaceId, policy } of runs) {
    if (!policy.throttle) continue
    const { line } = policy.throttle
    const asking = lines.get(line) ?? { ...policy.throttle, workspaceId, runs: [] }
    asking.runs.push(id)
    lines.set(line, asking)
  }
  if (lines.size === 0) return places
  const known = await readStarts(tx, [...lines.values()])
  const written = []
  for (const { line, workspaceId, limit, periodMs, runs: asking } of lines.values()) {
    const { now, count, last, starts } = known.get(line)!
    const given: number[] = []
    for (const id of asking) {
      const back = count + given.length - limit
      const before = back < 0 ? null : back < count ? starts[back - Math.max(0, count - limit)]! : given[back - count]!
      const place = Math.max(now, given.at(-1) ?? last ?? 0, before === null ? 0 : before + periodMs)
      if (place - now > farthestMs) {
        places.refused.set(id, Math.ceil((place - now - farthestMs) / 1000))
        continue
      }
      given.push(place)
      if (place > now) places.later.set(id, new Date(place))
    }
    if (given.length === 0) continue
    const until = new Date(given.at(-1)! + periodMs)
    written.push({ line, workspace_id: workspaceId, starts: given.map((ms) => new Date(ms)), until, most: limit })
  }
  if (written.length > 0) await writeStarts(tx, toJsonText(written))
  return places
}

interface Known {
  now: number
  count: number
  last: number | null
  /** Those that the next places follow, a period later. */
  starts: number[]
}

async function readStarts(tx: Kysely<Database>, lines: readonly Line[]): Promise<Map<string, Known>> {
  const asked = toJsonText(lines.map(({ line, limit, runs }) => ({ line, most: limit, asking: runs.length })))
  const { rows } = await sql<Known & { line: string }>`
    select a.line, floor(extract(epoch from app_now()) * 1000)::double precision as now,
      coalesce(cardinality(t.starts), 0) as count,
      (extract(epoch from t.starts[cardinality(t.starts)]) * 1000)::double precision as last,
      to_jsonb(array(
        select (extract(epoch from x.at) * 1000)::bigint
        from unnest(t.starts[greatest(1, cardinality(t.starts) - a.most + 1):cardinality(t.starts) - a.most + a.asking])
          with ordinality as x(at, place) order by x.place)) as starts
    from jsonb_to_recordset(${asked}::text::jsonb) as a(line uuid, most integer, asking integer)
    left join throttle_lines t on t.line = a.line`.execute(tx)
  return new Map(rows.map((row) => [row.line, row]))
}

async function writeStarts(tx: Kysely<Database>, rows: string): Promise<void> {
  await sql`
    with given as (
      select line, workspace_id, until, most,
        array(select x.at::timestamptz from jsonb_array_elements_text(w.starts) with ordinality as x(at, place)
          order by x.place) as starts
      from jsonb_to_recordset(${rows}::text::jsonb) as w(
        line uuid, workspace_id uuid, until timestamptz, most integer, starts jsonb)
    )
    insert into throttle_lines as t (line, workspace_id, starts, until)
    select g.line, g.workspace_id,
      (all_starts)[greatest(1, cardinality(all_starts) - g.most + 1):], g.until
    from given g left join throttle_lines o on o.line = g.line
    cross join lateral (select coalesce(o.starts, '{}') || g.starts as all_starts) both_of
    order by g.line
    on conflict (line) do update set until = excluded.until, starts = excluded.starts`.execute(tx)
}
