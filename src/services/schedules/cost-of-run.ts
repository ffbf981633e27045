import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { addDecimals } from '../../lib/decimal.ts'
import { findAgent } from '../agents/find.ts'
import { findPrice } from '../models/catalogue.ts'
import { costOf } from '../models/cost.ts'
import { ModelError } from '../models/errors.ts'
import { resolveModel } from '../models/resolve.ts'
import { offlineProvider } from '../models/providers.ts'
import type { ModelChoice } from '../models/types.ts'
import type { AgentStep, LlmStep, RecipeDefinition, Step } from '../recipes/definition.ts'

type Context = Pick<ServiceContext, 'db' | 'config' | 'actor'>

/** What a run is expected to cost, and how that is known. */
export interface RunCost {
  /** Null: it is not known; `detail` says why. */
  cost_usd: string | null
  basis: 'past_runs' | 'price_table' | null
  /** Past runs that the median is of. */
  runs: number
  detail: string
}

const runsLookedAt = 1000
const runsTaken = 100
const callsLookedAt = 5000
const callsTaken = 200
/** Of English prose and most code; only where nothing was measured. */
const charactersPerToken = 4

/** The median of the last runs; else from the prices of the models that its steps call; else null. Never a guess without a source. */
export async function costOfRun(ctx: Context, recipe: { id: string; definition: RecipeDefinition }): Promise<RunCost> {
  const past = await medianOfRuns(ctx, recipe.id)
  if (past.median !== null) {
    const unknown = past.runs - past.known
    const rest = unknown > 0 ? `; ${unknown} more are of unknown cost` : ''
    return {
      cost_usd: addDecimals('0', past.median),
      basis: 'past_runs',
      runs: past.known,
      detail: `The median of the last ${past.known} succeeded runs${rest}.`,
    }
  }
  const estimate = await costOfSteps(ctx, recipe.definition.steps)
  if ('unknown' in estimate) return { cost_usd: null, basis: null, runs: 0, detail: estimate.unknown }
  const detail =
    estimate.calls === 0
      ? 'No run has succeeded yet, and no step calls a model.'
      : `No run has succeeded yet: the prices of the models for one call of each of ${estimate.calls} steps, ` +
        'of branches the costliest.'
  return { cost_usd: estimate.cost, basis: 'price_table', runs: 0, detail }
}

/** Answers of the simulated model cost nothing and say nothing. A run that called no model costs nothing, too, but truly. */
async function medianOfRuns({ db, actor }: Context, recipeId: string) {
  const { rows } = await sql<{ runs: number; known: number; median: string | null }>`
    select count(*)::int as runs, count(cost)::int as known,
      (percentile_disc(0.5) within group (order by cost))::text as median
    from (
      select case when usage ->> 'model_calls' is null then 0 else (usage ->> 'cost_usd')::numeric end as cost
      from (
        select id, usage, state from runs
        where workspace_id = ${actor.workspaceId} and recipe_id = ${recipeId}
        order by created_at desc, id desc limit ${runsLookedAt}
      ) as latest
      where state = 'succeeded' and not exists (select from model_usage u where u.run_id = latest.id and u.simulated)
      limit ${runsTaken}
    ) as costs`.execute(db)
  return rows[0] ?? { runs: 0, known: 0, median: null }
}

type Estimate = { cost: string; calls: number } | { unknown: string }

async function costOfSteps(ctx: Context, steps: readonly Step[]): Promise<Estimate> {
  let [cost, calls] = ['0', 0]
  for (const step of steps) {
    const each = await costOfStep(ctx, step)
    if ('unknown' in each) return each
    cost = addDecimals(cost, each.cost)
    calls += each.calls
  }
  return { cost, calls }
}

async function costOfStep(ctx: Context, step: Step): Promise<Estimate> {
  const free: Estimate = { cost: '0', calls: 0 }
  if (step.kind === 'agent' || step.kind === 'llm') return costOfCall(ctx, step)
  if (step.kind === 'branch') {
    let costliest = free
    for (const list of [...step.cases.map((each) => each.steps), step.default ?? []]) {
      const each = await costOfSteps(ctx, list)
      if ('unknown' in each) return each
      if ('cost' in costliest && Number(each.cost) >= Number(costliest.cost)) costliest = each
    }
    return costliest
  }
  if (step.kind === 'foreach') {
    const inner = await costOfSteps(ctx, step.steps)
    if ('cost' in inner && inner.calls === 0) return free
    return { unknown: `How many items step ${step.id} will have is not known before it has run.` }
  }
  if ((step.kind as string) === 'recipe')
    return { unknown: `Step ${step.id} runs another recipe, whose cost is its own.` }
  return free
}

async function costOfCall(ctx: Context, step: AgentStep | LlmStep): Promise<Estimate> {
  const agent = step.kind === 'agent' ? await findAgent(ctx, step.agent) : null
  if (step.kind === 'agent' && !agent) return { unknown: `There is no agent ${step.agent}.` }
  const choice = await modelOf(ctx, step.model ?? agent?.model ?? null)
  if (choice === null) return { unknown: `No model is configured for step ${step.id}.` }
  if (choice.provider === offlineProvider)
    return { unknown: `Step ${step.id} calls the simulated model, which costs nothing.` }
  const price = choice.base_url === undefined ? await findPrice(ctx, choice.provider, choice.model) : null
  if (!price) return { unknown: `The price of ${choice.provider}/${choice.model} is not known.` }
  const written = `${step.prompt}${step.kind === 'llm' ? (step.system ?? '') : (agent?.system_prompt ?? '')}`
  const limit = choice.max_output_tokens ?? agent?.limits.max_output_tokens ?? null
  const tokens = (await tokensOfCalls(ctx, choice)) ?? {
    input: Math.ceil(written.length / charactersPerToken),
    output: limit,
  }
  if (tokens.output === null) {
    const model = `${choice.provider}/${choice.model}`
    return { unknown: `How much ${model} writes in step ${step.id} is neither measured nor limited.` }
  }
  const usage = {
    input_tokens: tokens.input,
    output_tokens: tokens.output,
    cached_input_tokens: null,
    reasoning_tokens: null,
  }
  const cost = costOf(usage, 0, price)
  return cost === null
    ? { unknown: `The price of ${choice.provider}/${choice.model} is not known.` }
    : { cost, calls: 1 }
}

async function modelOf(ctx: Context, choice: ModelChoice | null): Promise<ModelChoice | null> {
  try {
    return (await resolveModel(ctx, choice)).choice
  } catch (error) {
    if (error instanceof ModelError) return null
    throw error
  }
}

/** What a call of this model takes and gives in this workspace: medians of the last ones. */
async function tokensOfCalls({ db, actor }: Context, { provider, model }: ModelChoice) {
  const { rows } = await sql<{ input: number | null; output: number | null }>`
    select percentile_disc(0.5) within group (order by input_tokens) as input,
      percentile_disc(0.5) within group (order by output_tokens) as output
    from (
      select input_tokens, output_tokens from (
        select provider, model, status, input_tokens, output_tokens from model_usage
        where workspace_id = ${actor.workspaceId} order by created_at desc limit ${callsLookedAt}
      ) as latest
      where provider = ${provider} and model = ${model} and status = 'ok'
        and input_tokens is not null and output_tokens is not null
      limit ${callsTaken}
    ) as calls`.execute(db)
  const { input, output } = rows[0] ?? { input: null, output: null }
  return input === null || output === null ? null : { input, output }
}
