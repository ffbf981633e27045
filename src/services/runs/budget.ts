import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Database } from '../../db/database.ts'
import { addDecimals, reaches } from '../../lib/decimal.ts'
import type { PricedCall } from '../models/types.ts'
import type { Step } from '../recipes/definition.ts'
import type { Flow } from './flow.ts'
import { StepError } from './step-executor.ts'

/**
 * What bounds the spending of a run: its own `settings.budget_usd`, those of the runs above it, the budget of its workflow.
 * What has been spent is never counted apart: it is read from the usage that the checkpoints of all runs below such a bound
 * have stored, so no crash counts a call twice or leaves it out. Looked at before each model call, so calls side by
 * side can spend beyond a bound what was in flight when it was reached, and no more.
 */
export function budgetOf(flow: Flow): ((call: PricedCall) => Promise<void>) | null {
  const own = flow.definition.settings?.budget_usd
  const isPart = ['recipe', 'workflow'].includes(String(flow.run.trigger['kind']))
  if (own === undefined && !isPart) return null
  // A run that starts none and comes of none has all that it spends in its own hands.
  if (!isPart && !startsRuns(flow.definition.steps))
    return async (call) => check([{ limit_usd: own!, spent: '0', unknown: false }], flow.cost, call)
  let unbounded = false
  return async (call) => {
    if (unbounded) return
    const bounds = await flow.read(() => boundsOn(flow.runtime.db, flow.run.id))
    // Recipe versions do not change, and neither does who started whom; the budget of a workflow may be set at any time.
    if (bounds.length === 0) unbounded = true
    check(
      bounds.filter((bound): bound is Bound => bound.limit_usd !== null),
      flow.cost,
      call,
    )
  }
}

interface Bound {
  limit_usd: string
  /** By all runs below it but the one that asks. */
  spent: string
  /** The cost of a call among them is not known. */
  unknown: boolean
}

function check(bounds: readonly Bound[], own: string | null, { who, priced }: PricedCall): void {
  if (bounds.length === 0) return
  if (!priced) throw refused('price_unknown', `The price of ${who} is not known, so no budget can be kept with it.`)
  for (const { limit_usd, spent, unknown } of bounds) {
    if (unknown || own === null)
      throw refused('price_unknown', 'The cost of an earlier call is not known, so the budget cannot be kept.')
    if (reaches(addDecimals(spent, own), limit_usd))
      throw refused('budget_exceeded', `The budget of ${limit_usd} USD is spent.`)
  }
}

const refused = (kind: string, detail: string): StepError => new StepError(kind, detail, { retryable: false })

const startsRuns = (steps: readonly Step[]): boolean =>
  steps.some((step) => {
    if (step.kind === 'recipe') return true
    if (step.kind === 'foreach') return startsRuns(step.steps)
    return step.kind === 'branch' && [...step.cases.map((each) => each.steps), step.default ?? []].some(startsRuns)
  })

/** Runs above and below; no chain is as long as this. */
const maxLevels = 20

/** The bounds above a run, itself included, with what the others below each have spent. A workflow is listed without one, too. */
async function boundsOn(
  db: Kysely<Database>,
  runId: string,
): Promise<(Omit<Bound, 'limit_usd'> & { limit_usd: string | null })[]> {
  const { rows } = await sql<Omit<Bound, 'limit_usd'> & { limit_usd: string | null }>`
    with recursive up as (
      select id, parent_run_id, trigger, recipe_id, recipe_version, definition, 0 as level from runs where id = ${runId}
      union all
      select r.id, r.parent_run_id, r.trigger, r.recipe_id, r.recipe_version, r.definition, up.level + 1
      from up join runs r on r.id = up.parent_run_id where up.level < ${maxLevels}::integer
    ), bounds as materialized (
      select array[up.id] as roots, coalesce(up.definition, v.definition) #>> '{settings,budget_usd}' as limit_usd,
        null::numeric as paid, null::uuid as going, false as unknown
      from up left join recipe_versions v on v.recipe_id = up.recipe_id and v.version = up.recipe_version
      where coalesce(up.definition, v.definition) #> '{settings,budget_usd}' is not null
      union all
      -- While the workflow waits for this run, what it has paid is that of all others, those included that are deleted by now.
      -- A run that is taken up again by hand is among what it has paid.
      select array(select run_id from workflow_runs where workflow_id = w.id), trim_scale(w.budget_usd)::text,
        w.cost_usd, case when w.run_id = up.id and w.finished_at is null then up.id end, w.cost_unknown
      from up join workflows w on up.trigger ->> 'kind' = 'workflow' and w.id = (up.trigger ->> 'workflow_id')::uuid
    )
    select b.limit_usd, b.unknown or below.unknown as unknown,
      trim_scale(greatest(below.cost, case when b.going is not null then b.paid + below.going end))::text as spent
    from bounds b cross join lateral (${costBelow(sql`any(b.roots)`, runId, sql`b.going`)}) below`.execute(db)
  return rows
}

/** What runs and all that they have started have cost, less one of them; and of that, what the root `going` has. */
const costBelow = (roots: RawBuilder<unknown>, except: string | null, going = sql`null::uuid`) => sql`
  with recursive down as (
    select id, id as root, usage, 0 as level from runs where id = ${roots}
    union all
    select r.id, down.root, r.usage, down.level + 1 from down join runs r on r.parent_run_id = down.id
    where down.level < ${maxLevels}::integer
  )
  select coalesce(sum((usage ->> 'cost_usd')::numeric), 0) as cost,
    coalesce(sum((usage ->> 'cost_usd')::numeric) filter (where root = ${going}), 0) as going,
    coalesce(bool_or(usage -> 'cost_usd' = 'null'::jsonb), false) as unknown
  from down where id is distinct from ${except}::text::uuid`

/** What a run with all that it has started has cost: exact decimal, null where the cost of any call is not known. */
export async function spentBy(db: Kysely<Database>, runId: string): Promise<string | null> {
  const { rows } = await sql<{ cost: string | null }>`
    select case when unknown then null else trim_scale(cost)::text end as cost
    from (${costBelow(sql`${runId}::text::uuid`, null)}) spent`.execute(db)
  return rows[0]?.cost ?? null
}
