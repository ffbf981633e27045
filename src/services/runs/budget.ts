import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Database } from '../../db/database.ts'
import { addDecimals, reaches } from '../../lib/decimal.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { nothingAbove, type Above, type Charge } from '../budgets/hold.ts'
import type { Flow } from './flow.ts'
import { RunReleased } from './interruptions.ts'
import { RunLost } from './run-writer.ts'
import { StepError } from './step-executor.ts'

/** Who pays for the rounds with models that a step asks for: the round's key and the step's attempt name them. */
export type ChargeOf = (round: {
  key: string
  attempt: number
  agentId: string | null
  once: boolean
  rests: boolean
}) => Charge

/**
 * What bounds the spending of a run: the budgets of its workspace, its key, its agent and its recipe, its own
 * `settings.budget_usd`, those of the runs that it comes from, with their recipes, and that of its workflow. Each is a row
 * that calls reserve in before they are made.
 */
export function chargeOf(flow: Flow): ChargeOf {
  const { run, runtime } = flow
  const kind = run.trigger['kind']
  const own = flow.definition.settings?.budget_usd
  const recipes = run.recipe_id === null ? [] : [run.recipe_id]
  // Recipe versions do not change, and neither does who started whom: that is looked up once.
  let above: Promise<Above> | null = null
  const lookUp = async (): Promise<Above> => {
    if (flow.isDry) return { ...nothingAbove, recipes }
    if (kind === 'recipe') return flow.read(() => readAbove(runtime.db, run.id))
    const { workflow_id: workflow } = run.trigger
    return {
      recipes,
      workflow: kind === 'workflow' && typeof workflow === 'string' ? workflow : null,
      runs: own === undefined ? [] : [run.id],
    }
  }
  return ({ key, attempt, agentId, once, rests }) => ({
    // A dry run is no run: it repeats the keys of one.
    key: flow.isDry ? uuidv7() : `${run.id}/${run.generation}/${key}`,
    attempt,
    keyId: run.created_by !== null && isUuid(run.created_by) ? run.created_by : null,
    agentId,
    above: () => (above ??= lookUp()),
    prepare: () => flow.read(() => makeBudgets(runtime.db, run)),
    // What another owner asks for now goes by the same names.
    steadily: (statement) => (flow.writer.lost ? Promise.reject(new RunLost()) : flow.read(statement)),
    // What of this run waits for it looks at once.
    settled: () => flow.resting.nudgeBudgets(),
    ...(!rests && !flow.isDry && { whileBusy: (looks, signal) => untilNextLook(flow, once, looks, signal) }),
    ...(flow.isDry && own !== undefined && { check: (call) => checkDry(own, flow.cost, call) }),
  })
}

/** Between two looks of a step that cannot rest: it holds its run's lease meanwhile. */
const firstLookMs = 50
const longestLookMs = 2_000

/** What has begun and is made once is not begun again, so it stays; false where its process lets go of its runs. */
async function untilNextLook(
  flow: Flow,
  once: boolean,
  looks: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const ms = Math.min(longestLookMs, firstLookMs * 2 ** Math.min(looks, 20)) * (0.5 + Math.random() / 2)
  await new Promise<void>((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer)
      reject(signal!.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }, ms)
    if (signal?.aborted) stop()
    else signal?.addEventListener('abort', stop, { once: true })
  })
  if (flow.releasing) {
    if (once) return false
    throw new RunReleased()
  }
  // The call is made behind this: nobody else may have the run by then.
  await flow.confirmLease()
  return true
}

/** What no run spends is counted in memory alone. */
function checkDry(limit: string, spent: string | null, { who, priced }: { who: string; priced: boolean }): void {
  if (!priced) throw refused('price_unknown', `The price of ${who} is not known, so no budget can be kept with it.`)
  if (spent === null)
    throw refused('price_unknown', 'The cost of an earlier call is not known, so the budget cannot be kept.')
  if (reaches(addDecimals(spent, '0'), limit)) throw refused('budget_exceeded', `The budget of ${limit} USD is spent.`)
}

const refused = (kind: string, detail: string): StepError => new StepError(kind, detail, { retryable: false })

/** Runs above and below; no chain is as long as this. */
const maxLevels = 20

/** A run and those that it comes from, each with the budget that its definition names. */
const upwards = (runId: string) => sql`
  up as (
    select id, workspace_id, parent_run_id, trigger, recipe_id, recipe_version, definition, 0 as level
    from runs where id = ${runId}
    union all
    select r.id, r.workspace_id, r.parent_run_id, r.trigger, r.recipe_id, r.recipe_version, r.definition, up.level + 1
    from up join runs r on r.id = up.parent_run_id where up.level < ${maxLevels}::integer
  ), named as materialized (
    select up.*, coalesce(up.definition, v.definition) #>> '{settings,budget_usd}' as limit_usd,
      case when up.trigger ->> 'kind' = 'workflow' then (up.trigger ->> 'workflow_id')::uuid end as workflow_id
    from up left join recipe_versions v on v.recipe_id = up.recipe_id and v.version = up.recipe_version
  )`

async function readAbove(db: Kysely<Database>, runId: string): Promise<Above> {
  const { rows } = await sql<Above>`
    with recursive ${upwards(runId)}
    select coalesce(jsonb_agg(distinct recipe_id) filter (where recipe_id is not null), '[]') as recipes,
      coalesce(jsonb_agg(id) filter (where limit_usd is not null), '[]') as runs,
      (select workflow_id from named where workflow_id is not null limit 1) as workflow
    from named`.execute(db)
  return rows[0]!
}

/**
 * Makes the rows of the budgets above a run that have none yet. Each begins with what its runs have spent so far, as their
 * checkpoints have stored it: before there is a row, calls are made only where no budget was.
 */
async function makeBudgets(db: Kysely<Database>, run: { id: string; workspace_id: string }): Promise<void> {
  await sql`
    with recursive ${upwards(run.id)}, bounds as materialized (
      select 5 as level, id as scope_id, array[id] as roots, limit_usd::numeric, 0::numeric as paid, null::uuid as going,
        false as unknown
      from named where limit_usd is not null
      union all
      -- What a workflow has paid is that of all runs before, those included that are deleted by now.
      select 4, w.id, array(select run_id from workflow_runs where workflow_id = w.id), null,
        w.cost_usd, case when w.run_id = n.id and w.finished_at is null then n.id end, w.cost_unknown
      from named n join workflows w on w.id = n.workflow_id
    )
    insert into budgets (id, workspace_id, level, scope_id, limit_usd, period, window_start, spent, unpriced)
    select gen_random_uuid(), ${run.workspace_id}::text::uuid, b.level, b.scope_id, b.limit_usd, 'total', app_now(),
      greatest(below.cost, b.paid + case when b.going is null then 0 else below.going end),
      (b.unknown or below.unknown)::integer
    from bounds b cross join lateral (${costBelow(sql`any(b.roots)`, sql`b.going`)}) below
    where not exists (
      select from budgets x where x.workspace_id = ${run.workspace_id}::text::uuid and x.scope_id = b.scope_id)
    on conflict do nothing`.execute(db)
}

/** What runs and all that they have started have cost; and of that, what the root `going` has. */
const costBelow = (roots: RawBuilder<unknown>, going = sql`null::uuid`) => sql`
  with recursive down as (
    select id, id as root, usage, 0 as level from runs where id = ${roots}
    union all
    select r.id, down.root, r.usage, down.level + 1 from down join runs r on r.parent_run_id = down.id
    where down.level < ${maxLevels}::integer
  )
  select coalesce(sum((usage ->> 'cost_usd')::numeric), 0) as cost,
    coalesce(sum((usage ->> 'cost_usd')::numeric) filter (where root = ${going}), 0) as going,
    coalesce(bool_or(usage -> 'cost_usd' = 'null'::jsonb), false) as unknown
  from down`

/** What a run with all that it has started has cost: exact decimal, null where the cost of any call is not known. */
export async function spentBy(db: Kysely<Database>, runId: string): Promise<string | null> {
  const { rows } = await sql<{ cost: string | null }>`
    select case when unknown then null else trim_scale(cost)::text end as cost
    from (${costBelow(sql`${runId}::text::uuid`)}) spent`.execute(db)
  return rows[0]?.cost ?? null
}
