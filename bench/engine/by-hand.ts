import postgres from 'postgres'
import { uuidv7 } from '../../src/lib/ids.ts'
import { openDatabase, prepare } from '../database.ts'
import { inLanes, serve, type Work } from './contender.ts'
import { Ends } from './ends.ts'

// The rows that the engine writes, in the engine's own tables and in no more commits, by somebody who knows beforehand how
// every run goes: nobody else takes it, nothing fails, nothing is read back but which runs come next.

/** While one waits for its commit, the other goes on. More than two were no quicker. */
const loops = 2
const steps = { run: ['a', 'b', 'c'], job: ['a'] }
const request = { method: 'GET', url: 'http://nothing.test' }
const definitions = {
  run: { name: 'Three steps', steps: steps.run.map((id) => ({ id, kind: 'http', request })) },
  job: { name: 'One step', steps: steps.job.map((id) => ({ id, kind: 'http', request })) },
}

await serve(async ({ url, inFlight, connections, finished }) => {
  const db = openDatabase(url)
  const workspaceId = await prepare(db)
  await db.destroy()
  const sql = postgres(url, { max: connections, onnotice() {} })

  const insert = (work: Work, ids: string[]) => sql`
    with new_runs as (
      insert into runs (id, workspace_id, definition, state, trigger, input, last_seq)
      select id, ${workspaceId}, ${JSON.stringify(definitions[work])}::text::jsonb, 'queued', '{"kind": "api"}', '{}', 1
      from unnest(${ids}::uuid[]) id
    ), queued as (
      insert into run_queue (run_id, workspace_id) select id, ${workspaceId} from unnest(${ids}::uuid[]) id
    )
    insert into run_events (run_id, seq, type, data)
    select id, 1, 'execution.queued', '{"trigger": {"kind": "api"}}' from unnest(${ids}::uuid[]) id`

  const claim = async (): Promise<string[]> => {
    const rows = await sql`
      with taken as (
        delete from run_queue where run_id in (
          select run_id from run_queue order by ready_at, run_id limit ${inFlight} for update skip locked
        ) returning run_id
      )
      update runs r set state = 'running', fence = 1, lease_owner = 'hand', started_at = now(),
        lease_until = now() + interval '30 seconds'
      from taken where r.id = taken.run_id returning r.id`
    return rows.map((row) => row['id'])
  }

  /** The result of one step in all of them, with the events that go with it; the last one ends the runs. */
  const checkpoint = (ids: string[], step: string, ordinal: number, isLast: boolean) => {
    const events = [
      ...(ordinal === 0 ? [{ type: 'execution.started', data: {} }] : []),
      { type: 'step.started', data: { path: step, kind: 'http', attempt: 1 } },
      { type: 'step.succeeded', data: { path: step, kind: 'http', attempts: 1 } },
      ...(isLast ? [{ type: 'execution.succeeded', data: {} }] : []),
    ]
    const moved = isLast
      ? sql`state = 'succeeded', output = '{"ok": true}', finished_at = now(), lease_owner = null, lease_until = null`
      : sql`lease_until = now() + interval '30 seconds'`
    return sql`
      with moved as (
        update runs set rev = rev + 1, checkpoint_id = gen_random_uuid(), last_seq = last_seq + ${events.length}, ${moved}
        where id = any(${ids}::uuid[]) returning id, last_seq
      ), steps as (
        insert into run_steps (run_id, path, parent, ordinal, step_id, kind, status, attempts, output, started_at, finished_at)
        select id, ${step}, '', ${ordinal}, ${step}, 'http', 'succeeded', 1, '{"ok": true}', now(), now() from moved
      )
      insert into run_events (run_id, seq, type, data)
      select id, last_seq - ${events.length} + n, e->>'type', e->'data'
      from moved, jsonb_array_elements(${JSON.stringify(events)}::text::jsonb) with ordinality as e(e, n)`
  }

  const ends = new Ends(async (ids) => {
    const rows = await sql`select id from runs where id = any(${ids}::uuid[]) and finished_at is not null`
    return rows.map((row) => row['id'])
  })

  let current: Work = 'run'
  /** There may be runs that no loop has looked for. */
  let isNews = false
  const working = new Set<Promise<void>>()
  const work = async () => {
    const path = steps[current]
    while (isNews) {
      isNews = false
      for (let ids = await claim(); ids.length > 0; ids = await claim()) {
        for (const [n, step] of path.entries()) await checkpoint(ids, step, n, n === path.length - 1)
        finished(ids.length)
        ends.tell(ids)
      }
    }
  }
  const goOn = () => {
    isNews = true
    if (working.size === loops) return
    const loop: Promise<void> = work().finally(() => working.delete(loop))
    working.add(loop)
  }

  return {
    async start(work, count) {
      current = work
      if (work === 'job') {
        await insert(
          work,
          Array.from({ length: count }, () => uuidv7()),
        )
        for (let n = 0; n < loops; n++) goOn()
        while (working.size > 0) await Promise.all(working)
      } else {
        await inLanes(count, inFlight, async () => {
          const id = uuidv7()
          const ended = ends.of(id)
          await insert(work, [id])
          goOn()
          await ended
        })
      }
    },
    close: () => sql.end({ timeout: 1 }),
  }
})
