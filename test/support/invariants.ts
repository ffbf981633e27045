import { sql, type Kysely, type RawBuilder } from 'kysely'
import { expect } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { endStates } from '../../src/services/runs/states.ts'

type Db = Kysely<Database>

/** What came to an effect server under one Idempotency-Key. */
export interface SeenEffect {
  count: number
  /** Of the bodies that came, as hashes. */
  bodies: ReadonlySet<string>
}

/**
 * What the rows of runs that have ended always show, whatever happened on the way: an end, nobody who holds it, a log
 * without a gap whose last word is that end, nothing left open or waiting, and totals that are the sum of what they count.
 */
export async function expectWholeRuns(db: Db, runIds: Iterable<string>): Promise<void> {
  const ids = [...runIds]
  // A list of this length goes as one parameter, and a failure names the runs of one part.
  for (let from = 0; from < ids.length; from += 1_000) await expectWhole(db, ids.slice(from, from + 1_000))
}

async function expectWhole(db: Db, ids: string[]): Promise<void> {
  const list = sql`(select value::uuid from jsonb_array_elements_text(${JSON.stringify(ids)}::text::jsonb))`
  const ends = sql.join(endStates)
  const stored = await found(db, sql`select id from runs where id in ${list}`)
  expect(stored, 'runs that are there').toHaveLength(new Set(ids).size)

  const faults: Record<string, RawBuilder<unknown>> = {
    'have not ended, or are held, or have commands waiting': sql`
      select id, state, lease_owner, pending_commands from runs where id in ${list}
        and (state not in (${ends}) or finished_at is null or lease_owner is not null or lease_until is not null
          or pending_commands <> 0)`,
    'have a gap in their log, or another number of events than they count': sql`
      select r.id, r.last_seq, count(e.seq)::integer as events from runs r left join run_events e on e.run_id = r.id
      where r.id in ${list} group by r.id
      having count(e.seq) <> r.last_seq or min(e.seq) <> 1 or max(e.seq) <> r.last_seq`,
    'have another last word than their end': sql`
      select r.id, r.state, e.type from runs r join run_events e on e.run_id = r.id and e.seq = r.last_seq
      where r.id in ${list} and e.type <> 'execution.' || r.state`,
    'have left an end without a retry': sql`
      select * from (
        select run_id, seq, type, lead(type) over (partition by run_id order by seq) as next
        from run_events where run_id in ${list}) log
      where replace(type, 'execution.', '') in (${ends}) and type like 'execution.%'
        and next is not null and next <> 'execution.retried'`,
    'were started more than once, or have succeeded without': sql`
      select r.id, count(e.seq)::integer as starts from runs r
      left join run_events e on e.run_id = r.id and e.type = 'execution.started'
      where r.id in ${list} group by r.id
      having count(e.seq) > 1 or count(e.seq) = 0 and r.state = 'succeeded'`,
    'are ready to be claimed': sql`select run_id from run_queue where run_id in ${list}`,
    'hold a slot, or stand in a line for one': sql`
      select run_id, scope, state from run_slots where run_id in ${list} and state <> 'over'
      union all select run_id, reason, null from held_runs where run_id in ${list}`,
    'are waited for': sql`select run_id, path from waits where run_id in ${list}`,
    'have parents that were not told': sql`select run_id from child_ends where run_id in ${list}`,
    'have steps that are open': sql`
      select run_id, path, status from run_steps
      where run_id in ${list} and status in ('pending', 'running', 'waiting')`,
    'have other totals than the sum of their calls of models': sql`
      select r.id, r.usage, u.* from runs r cross join lateral (
        select count(*)::integer as calls, coalesce(sum(input_tokens), 0)::integer as input,
          coalesce(sum(output_tokens), 0)::integer as output, coalesce(sum(cost_usd), 0) as cost
        from model_usage where run_id = r.id) u
      where r.id in ${list} and (coalesce((r.usage->>'model_calls')::integer, 0) <> u.calls
        or coalesce((r.usage->>'input_tokens')::integer, 0) <> u.input
        or coalesce((r.usage->>'output_tokens')::integer, 0) <> u.output
        or coalesce((r.usage->>'cost_usd')::numeric, 0) <> u.cost)`,
    'have notices of a failure that wait, or of an end that was not theirs': sql`
      select n.run_id, n.generation, n.number, n.state, n.delivery, r.state as ended_as
      from failure_notices n join runs r on r.id = n.run_id
      where n.run_id in ${list} and (n.delivery = 'pending' or n.generation > r.generation
        or n.generation = r.generation and n.state <> r.state)`,
  }
  for (const [fault, query] of Object.entries(faults)) expect(await found(db, query), `runs that ${fault}`).toEqual([])
}

/** Every counter of the whole database equals what it counts. */
export async function expectTrueCounters(db: Db): Promise<void> {
  const faults: Record<string, RawBuilder<unknown>> = {
    'families that count other members than they have': sql`
      select f.root_id, f.started, count(r.id)::integer as members from run_families f
      left join runs r on r.id <> f.root_id and r.trigger->>'root' = f.root_id::text
        and r.trigger->>'kind' = 'recipe'
      group by f.root_id having count(r.id) <> f.started`,
    'limits that more executions hold than may': sql`
      select s.counter, count(*)::integer as held from run_slots s where s.state = 'held'
      group by s.counter having count(*) > max(size_of_slot(s))`,
    'executions that are blocked and in no line, or in a line and not blocked': sql`
      select r.id, r.state, h.reason from runs r full join held_runs h on h.run_id = r.id
      where (r.state = 'blocked') <> (coalesce(h.reason, '') = 'slot')`,
    // Of one that was left while its run's end was being written nobody speaks any more: a retry passes over it.
    'runs that count other commands than wait for them': sql`
      select r.id, r.pending_commands from runs r
      where r.state not in (${sql.join(endStates)}) and r.pending_commands <> (select count(*) from run_inbox i where i.run_id = r.id and i.applied_at is null)`,
    'workflows whose runs are not numbered from one on, or twice': sql`
      select workflow_id, array_agg(number order by number) as numbers from workflow_runs group by workflow_id
      having min(number) <> 1 or max(number) <> count(*) or count(distinct run_id) <> count(*)`,
  }
  for (const [fault, query] of Object.entries(faults)) expect(await found(db, query), fault).toEqual([])
}

/**
 * The effect server saw exactly the expected keys, one body for each, and no key more often than once and the times that a
 * call of it was on its way when its process died. Returns how many calls were repeats.
 */
export function expectWholeEffects(
  effects: ReadonlyMap<string, SeenEffect>,
  expectedKeys: Iterable<string>,
  inFlight: ReadonlyMap<string, number> = new Map(),
): number {
  expect([...effects.keys()].toSorted()).toEqual([...expectedKeys].toSorted())
  let repeats = 0
  for (const [key, { count, bodies }] of effects) {
    expect(bodies.size, `${key} came with ${bodies.size} bodies`).toBe(1)
    expect(count - 1, `${key} came ${count} times`).toBeLessThanOrEqual(inFlight.get(key) ?? 0)
    repeats += count - 1
  }
  return repeats
}

/** Of the keys that came to an effect server, those of these runs whose result is stored nowhere: their calls were in flight. */
export async function unrecordedCalls(db: Db, runIds: string[], keys: Iterable<string>): Promise<string[]> {
  if (runIds.length === 0) return []
  const calls = await db
    .selectFrom('run_calls')
    .select(['run_id', 'key'])
    .where('run_id', 'in', runIds)
    .where('result', 'is not', null)
    .execute()
  const steps = await db
    .selectFrom('run_steps')
    .select(['run_id', 'path'])
    .where('run_id', 'in', runIds)
    .where('finished_at', 'is not', null)
    .execute()
  const ours = new Set(runIds)
  const recorded = new Set(calls.map(({ run_id, key }) => `${run_id}/${key}`))
  const ended = new Set(steps.map(({ run_id, path }) => `${run_id}/${path}`))
  return [...keys].filter((key) => {
    const [run, , ...rest] = key.split('/')
    return ours.has(run!) && !recorded.has(key) && !ended.has(`${run}/${rest.slice(0, -1).join('/')}`)
  })
}

async function found(db: Db, query: RawBuilder<unknown>): Promise<unknown[]> {
  return (await query.execute(db)).rows
}
