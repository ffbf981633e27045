import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { validateJson } from '../../lib/json-schema.ts'
import { pointerTo } from '../../lib/pointer.ts'
import type { UsageWrite } from '../runs/checkpoint.ts'
import { openDryFlow, type DryFlow } from '../runs/dry-flow.ts'
import { notYetRun, type Frame } from '../runs/flow.ts'
import { RunTimedOut } from '../runs/interruptions.ts'
import { unspill } from '../runs/spill.ts'
import type { StepExecutors } from '../runs/step-executor.ts'
import { walkList } from '../runs/walk.ts'
import { stepExecutors } from '../steps/index.ts'
import type { RecipeDefinition, Step, StepKind } from './definition.ts'
import { asDefinition, findRecipe } from './find.ts'
import { inTestSlot } from './test-slots.ts'

/** Kinds that need no run: all others leave something behind that waits for one. */
const testable: ReadonlySet<StepKind> = new Set<StepKind>([
  'agent',
  'llm',
  'tool',
  'http',
  'transform',
  'branch',
  'foreach',
  'wait',
  'notify',
  'fail',
])
/** A request is no place for a longer one. */
const longestMs = 120_000
/** Of all its loops together: a test shows what a step does, not all of it. */
const maxItems = 100

export interface StepTest {
  recipe: string
  step: string
  version?: number
  input: Json
  /** Outputs of other steps, by id. */
  outputs: JsonObject
  /** Loop variables of the foreach steps around it. */
  variables: JsonObject
  trigger: JsonObject
  signal: AbortSignal
}

export interface StepTestResult {
  step_id: string
  kind: string
  recipe_version: number
  status: 'succeeded' | 'failed' | 'skipped' | 'waiting'
  output: Json
  error: JsonObject | null
  duration_ms: number
  usage: JsonObject
  log: { type: string; data: JsonObject }[]
}

/**
 * Runs one step by itself, once, with what other steps gave as it is pinned by the caller. Its effects are real; no run is
 * made of it. Only what its model calls cost is stored.
 */
export const testStep = (ctx: ServiceContext, request: StepTest): Promise<StepTestResult> =>
  inTestSlot(ctx, 2 * longestMs, () => tryStep(ctx, request))

async function tryStep(ctx: ServiceContext, request: StepTest): Promise<StepTestResult> {
  const { definition, id: recipeId, version } = await loadDefinition(ctx, request)
  const place = placeOf(definition.steps, request.step, [])
  if (!place) throw new AppError('not-found', `The recipe has no step ${request.step.slice(0, 100)}.`)
  check(definition, place, request)
  // One attempt: what comes before it and what follows a failure is the matter of a run.
  const { retry: _retry, on_error: _onError, needs: _needs, ...rest } = place.step
  const step = rest as Step
  const { rows } = await sql<{ now: Date }>`select app_now()::timestamptz(3) as now`.execute(ctx.db)
  const now = rows[0]!.now
  const dry = openDryFlow(
    ctx,
    {
      id: uuidv7(),
      workspace_id: ctx.actor.workspaceId,
      recipe_id: recipeId,
      recipe_version: version,
      definition: definition as unknown as JsonObject,
      input: request.input,
      trigger: request.trigger,
      created_by: ctx.actor.kind === 'key' ? ctx.actor.id : null,
      started_at: now,
    },
    { executors: stepExecutors as unknown as StepExecutors, whenResting: 'parked', maxItems },
  )
  const begunMs = ctx.clock.monotonicMs()
  const outcome = await walk(dry, step, place, request)
  const duration_ms = Math.round(ctx.clock.monotonicMs() - begunMs)
  await dry.settle()
  await storeUsage(ctx, dry.usage)
  const shown = dry.events.filter(({ type }) => type === 'log' || type === 'tool.call' || type === 'tool.result')
  return {
    step_id: step.id,
    kind: step.kind,
    recipe_version: version,
    ...outcome,
    output: await unspill(dry.flow.runtime.blobs, ctx.actor.workspaceId, outcome.output),
    duration_ms,
    usage: { model_calls: 0, input_tokens: 0, output_tokens: 0, cost_usd: '0', ...dry.totals() },
    log: shown.map(({ type, data }) => ({ type, data })),
  }
}

async function walk(
  { flow }: DryFlow,
  step: Step,
  place: Place,
  request: StepTest,
): Promise<Pick<StepTestResult, 'status' | 'output' | 'error'>> {
  const stop = () => flow.abort.abort(new RunTimedOut())
  const timer = setTimeout(stop, longestMs)
  request.signal.addEventListener('abort', stop, { once: true })
  const frame: Frame = {
    ...flow.root,
    steps: { ...notYetRun(place.all), ...pinned(request.outputs) },
    variables: { ...request.variables },
  }
  try {
    if (request.signal.aborted) stop()
    const result = await walkList(flow, [step], '', frame)
    if (result.kind === 'parked') return { status: 'waiting', output: null, error: null }
    if (result.kind === 'failed') return { status: 'failed', output: null, error: result.error }
    const isSkipped = frame.steps[step.id]?.['status'] === 'skipped'
    return { status: isSkipped ? 'skipped' : 'succeeded', output: result.output, error: null }
  } catch (error) {
    if (!(error instanceof RunTimedOut)) throw error
    const detail = `The step took longer than a test may take: ${longestMs / 1000} seconds.`
    return { status: 'failed', output: null, error: { kind: 'timeout', detail, status: null, attempts: 1 } }
  } finally {
    clearTimeout(timer)
    request.signal.removeEventListener('abort', stop)
  }
}

const pinned = (outputs: JsonObject): { [id: string]: JsonObject } =>
  Object.fromEntries(Object.entries(outputs).map(([id, output]) => [id, { status: 'succeeded', output, error: null }]))

async function loadDefinition(ctx: ServiceContext, { recipe, version }: StepTest) {
  const { row, definition } = await findRecipe(ctx.db, ctx.actor.workspaceId, recipe)
  if (version === undefined || version === row.version) return { id: row.id, version: row.version, definition }
  const older = await ctx.db
    .selectFrom('recipe_versions')
    .select('definition')
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('recipe_id', '=', row.id)
    .where('version', '=', version)
    .executeTakeFirst()
  if (!older) throw new AppError('not-found', `There is no version ${version} of this recipe.`)
  return { id: row.id, version, definition: asDefinition(older.definition) }
}

interface Place {
  step: Step
  /** The lists around the step, from the recipe's own inwards. */
  all: Step[]
  /** Names of the loop variables around it. */
  variables: string[]
}

function placeOf(steps: readonly Step[], id: string, variables: string[]): Place | null {
  for (const step of steps) {
    if (step.id === id) return { step, all: [...steps], variables }
    for (const list of listsBelow(step)) {
      const inner = step.kind === 'foreach' ? [...variables, step.as] : variables
      const found = placeOf(list, id, inner)
      if (found) return { ...found, all: [...steps, ...found.all] }
    }
  }
  return null
}

function listsBelow(step: Step): Step[][] {
  if (step.kind === 'foreach') return [step.steps]
  return step.kind === 'branch' ? [...step.cases.map((each) => each.steps), step.default ?? []] : []
}

const allBelow = (step: Step): Step[] => [step, ...listsBelow(step).flat().flatMap(allBelow)]

function check(definition: RecipeDefinition, place: Place, request: StepTest): void {
  const faults: Fault[] = []
  for (const step of allBelow(place.step))
    if (!testable.has(step.kind) || (step.kind === 'wait' && step.event !== undefined)) {
      const detail = `step ${step.id} waits in a run for what others bring, and cannot be tried alone`
      faults.push({ pointer: '', detail })
    }
  const known = new Set(definition.steps.flatMap(allBelow).map(({ id }) => id))
  for (const id of Object.keys(request.outputs))
    if (!known.has(id)) faults.push({ pointer: pointerTo('/outputs', id), detail: `there is no step ${id}` })
  for (const name of Object.keys(request.variables))
    if (!place.variables.includes(name))
      faults.push({ pointer: pointerTo('/variables', name), detail: `no foreach around the step gives ${name}` })
  for (const name of place.variables)
    if (!Object.hasOwn(request.variables, name))
      faults.push({ pointer: pointerTo('/variables', name), detail: 'is needed: the step is inside a foreach' })
  if (definition.inputs)
    for (const fault of validateJson(definition.inputs, request.input))
      faults.push({ ...fault, pointer: `/input_data${fault.pointer}` })
  if (faults.length > 0) throw new AppError('invalid', 'The step cannot be tried so.', { errors: faults })
}

/** Model calls that belong to no run. */
export async function storeUsage({ db, actor }: Pick<ServiceContext, 'db' | 'actor'>, usage: readonly UsageWrite[]) {
  if (usage.length === 0) return
  await db
    .insertInto('model_usage')
    .values(
      usage.map(({ price, ...row }) => ({
        ...row,
        price: price === null ? null : jsonb(price),
        workspace_id: actor.workspaceId,
        run_id: null,
      })),
    )
    .execute()
}
