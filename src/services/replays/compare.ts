import type { ServiceContext } from '../../context.ts'
import { canonicalJson, sha256Hex } from '../../lib/canonical.ts'
import { addDecimals } from '../../lib/decimal.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { diffJson } from '../../lib/json-diff.ts'
import { renderTree } from '../../lib/language/tree.ts'
import type { ModelChoice } from '../models/types.ts'
import type { RecipeDefinition, Step } from '../recipes/definition.ts'
import { asStepError, type StepResult } from '../runs/attempts.ts'
import type { UsageWrite } from '../runs/checkpoint.ts'
import { openDryFlow, type DryFlow } from '../runs/dry-flow.ts'
import type { StandIn } from '../runs/flow.ts'
import { Interruption } from '../runs/interruptions.ts'
import { locate, mayFollow } from '../runs/locate.ts'
import { hasEnded, itemKind, type StepRecord } from '../runs/records.ts'
import { asStored, identityOf, spill, unspill } from '../runs/spill.ts'
import type { StepContext, StepExecutor, StepExecutors } from '../runs/step-executor.ts'
import { walkList } from '../runs/walk.ts'
import { stepExecutors } from '../steps/index.ts'
import type { RecordedRun } from './source.ts'
import { inputOf, isPure } from './step-input.ts'

/** Steps that a report tells of one by one, and changes that it tells of each. */
const mostTold = 200
const mostChanges = 20
const largestChange = 2_000

/**
 * `same`: the recorded answer was used, or the value came out as it did. `changed`: it came out otherwise. `would_call`: what
 * it would go out with has changed, so no recorded answer is one to it; it was not sent. `added`, `removed`: only one of the
 * two has it. `not_reached`: behind the point where the comparison ended.
 */
export type StepVerdict = 'same' | 'changed' | 'would_call' | 'added' | 'removed' | 'not_reached'

export interface StepReport {
  path: string
  kind: string
  verdict: StepVerdict
  /** Models were asked: the answer is a new one. */
  called: boolean
  /** It builds on a recorded output in place of one that a step would have given now. */
  assumed: boolean
  status: { recorded: string | null; replayed: string | null }
  cost_usd: { recorded: string | null; replayed: string | null }
  input_changes: object[]
  output_changes: object[]
}

export interface RunReport {
  status: { recorded: string; replayed: string | null }
  /** Null where the comparison did not come to the end. */
  output_is_same: boolean | null
  output_changes: object[]
  counts: Record<StepVerdict, number>
  /** Path of the step behind which nothing could be compared. */
  stopped_at: string | null
  cost_usd: { recorded: string | null; replayed: string | null; spent: string | null }
  steps: StepReport[]
  steps_omitted: number
}

/** The walk cannot go on: nobody knows what this step gives. */
class NothingRecorded extends Interruption {
  readonly path: string
  constructor(path: string) {
    super('Nothing is recorded that could stand for the step.')
    this.path = path
  }
}

/** A call that no recorded one answers, and that is not made here. */
class WouldCall extends Interruption {
  constructor() {
    super('The call is not made.')
  }
}

export interface Comparison {
  definition: RecipeDefinition
  version: number
  model: ModelChoice | null
  callModels: boolean
  signal: AbortSignal
}

/**
 * Goes through a recorded run with another definition, and tells where the two part. Nothing outside is touched: recorded
 * answers stand in for every step with an effect, and a step whose input has changed is told of, not done. Only models are
 * asked, and only where the caller wants it.
 */
export async function compareRun(
  ctx: ServiceContext,
  recorded: RecordedRun,
  comparison: Comparison,
): Promise<{ report: RunReport; usage: UsageWrite[] }> {
  const inputs = await recordedInputs(ctx, recorded, comparison.signal)
  const notes = new Map<string, Note>()
  // One path of each step is enough to tell what may build on it.
  const assumedAt = new Map<string, string>()
  const candidate = {
    ...comparison.definition,
    steps: comparison.definition.steps.map((s) => prepared(s, comparison.model)),
  }
  const isAssumed = (path: string) => [...assumedAt.values()].some((each) => mayFollow(candidate, each, path))

  const standIn: StandIn = async (step, path, frame, enter) => {
    const assumed = isAssumed(path)
    if (isPure(step)) {
      const result = await enter()
      notes.set(path, { ...plainNote, assumed })
      return result
    }
    const input = inputOf(dry.flow, step, frame)
    const known = inputs.get(path)
    const row = recorded.steps.get(path)
    if (known !== undefined && row && sameJson(known, input)) {
      notes.set(path, { ...plainNote, assumed })
      return answerOf(row, path)
    }
    const inputChanges = known === undefined ? [] : changesOf(known, input)
    if (comparison.callModels && (step.kind === 'llm' || step.kind === 'agent')) {
      try {
        const result = await enter()
        notes.set(path, { called: true, wouldCall: false, assumed, inputChanges })
        return result
      } catch (error) {
        if (!(error instanceof WouldCall)) throw error
      }
    }
    notes.set(path, { called: false, wouldCall: true, assumed, inputChanges })
    if (!assumedAt.has(step.id)) assumedAt.set(step.id, path)
    return answerOf(row, path)
  }
  const dry: DryFlow = openDryFlow(ctx, asRun(recorded, candidate, comparison.version), {
    executors: recordingExecutors(recorded, candidate),
    previous: recorded.previous,
    standIn,
    whenResting: 'rested',
  })
  const { outcome, results } = await walkThrough(dry, candidate, comparison.signal)
  return { report: reportOf(recorded, dry, outcome, notes, results), usage: dry.usage }
}

interface Note {
  called: boolean
  wouldCall: boolean
  assumed: boolean
  inputChanges: object[]
}
const plainNote: Note = { called: false, wouldCall: false, assumed: false, inputChanges: [] }

/** What the steps with an effect went out with, worked out anew from what is recorded. */
async function recordedInputs(
  ctx: ServiceContext,
  recorded: RecordedRun,
  signal: AbortSignal,
): Promise<Map<string, Json>> {
  const inputs = new Map<string, Json>()
  const standIn: StandIn = async (step, path, frame, enter) => {
    if (isPure(step)) return enter()
    inputs.set(path, inputOf(dry.flow, step, frame))
    return answerOf(recorded.steps.get(path), path)
  }
  const dry: DryFlow = openDryFlow(ctx, asRun(recorded, recorded.definition, recorded.recipe_version), {
    executors: {},
    previous: recorded.previous,
    standIn,
    whenResting: 'rested',
  })
  await walkThrough(dry, recorded.definition, signal)
  return inputs
}

const asRun = (recorded: RecordedRun, definition: RecipeDefinition, version: number | null) => ({
  id: recorded.id,
  workspace_id: recorded.workspace_id,
  recipe_id: recorded.recipe_id,
  recipe_version: version,
  definition: definition as unknown as JsonObject,
  trigger: recorded.trigger,
  schedule_id: recorded.schedule_id,
  slot_at: recorded.slot_at,
  state_key: recorded.state_key,
  input: recorded.input,
  started_at: recorded.started_at,
})

type Outcome =
  | { kind: 'succeeded'; output: Json }
  | { kind: 'failed'; error: JsonObject }
  | { kind: 'stopped'; path: string }

async function walkThrough(
  dry: DryFlow,
  definition: RecipeDefinition,
  signal: AbortSignal,
): Promise<{ outcome: Outcome; results: Map<string, StepOutcome> }> {
  const { flow } = dry
  const onAbort = () => flow.abort.abort(signal.reason)
  signal.addEventListener('abort', onAbort)
  let outcome: Outcome
  try {
    signal.throwIfAborted()
    outcome = await walkToEnd(dry, definition)
  } catch (error) {
    if (!(error instanceof NothingRecorded)) throw error
    outcome = { kind: 'stopped', path: error.path }
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
  await dry.settle()
  const results = new Map<string, StepOutcome>()
  for (const { path, kind, status, output, error } of dry.steps.values())
    if (kind !== itemKind && hasEnded(status)) results.set(path, { kind, status, output, error })
  return { outcome, results }
}

async function walkToEnd({ flow }: DryFlow, definition: RecipeDefinition): Promise<Outcome> {
  const result = await walkList(flow, definition.steps, '', flow.root)
  // Nothing rests here, so nothing parks.
  if (result.kind === 'parked') throw new Error('A run without rests has parked.')
  if (result.kind === 'failed') return { kind: 'failed', error: result.error }
  const { blobs } = flow.runtime
  const stored = (output: Json) => spill(blobs, flow.run.workspace_id, flow.run.id, asStored(output))
  if (definition.output === undefined) return { kind: 'succeeded', output: await stored(result.output) }
  try {
    return { kind: 'succeeded', output: await stored(renderTree(definition.output, flow.scope(flow.root))) }
  } catch (error) {
    return { kind: 'failed', error: { kind: 'expression', detail: asStepError(flow, error).message } }
  }
}

type StepOutcome = Pick<StepRecord, 'kind' | 'status' | 'output' | 'error'>

function answerOf(row: StepRecord | undefined, path: string): StepResult {
  if (row?.status === 'succeeded') return { status: 'succeeded', output: row.output }
  if (row?.status === 'failed' && row.error) return { status: 'failed', error: row.error }
  if (row?.status === 'skipped') return { status: 'skipped' }
  throw new NothingRecorded(path)
}

/** One attempt of each step, and its model replaced where that is what is compared. */
function prepared(step: Step, model: ModelChoice | null): Step {
  const { retry: _, ...rest } = step
  const own = rest as Step
  if (own.kind === 'foreach') return { ...own, steps: own.steps.map((each) => prepared(each, model)) }
  if (own.kind === 'branch')
    return {
      ...own,
      cases: own.cases.map((each) => ({ ...each, steps: each.steps.map((inner) => prepared(inner, model)) })),
      ...(own.default && { default: own.default.map((each) => prepared(each, model)) }),
    }
  return model !== null && (own.kind === 'llm' || own.kind === 'agent') ? { ...own, model } : own
}

/** Steps that ask models, whose calls are answered from the record where it has the same request. */
function recordingExecutors(recorded: RecordedRun, candidate: RecipeDefinition): StepExecutors {
  const over =
    (executor: StepExecutor<never>): StepExecutor<never> =>
    (step, context) =>
      executor(step, {
        ...context,
        state: snapshotOf(recorded, candidate, context),
        effect: effectOf(recorded, context),
      })
  return {
    llm: over(stepExecutors.llm as StepExecutor<never>),
    agent: over(stepExecutors.agent as StepExecutor<never>),
  }
}

/** The agent as it was, where both name the same: what has been edited since is not what is compared. */
function snapshotOf(recorded: RecordedRun, candidate: RecipeDefinition, { path }: StepContext): JsonObject | null {
  const agent = recorded.steps.get(path)?.state?.['agent']
  const [before, now] = [locate(recorded.definition, path)?.step, locate(candidate, path)?.step]
  if (agent === undefined || before?.kind !== 'agent' || now?.kind !== 'agent') return null
  return before.agent === now.agent ? { agent } : null
}

function effectOf(recorded: RecordedRun, context: StepContext): StepContext['effect'] {
  return async (key, kind, request, make) => {
    const hash = sha256Hex(canonicalJson(request))
    const found = recorded.calls.get(context.path)?.find((call) => call.kind === kind && call.request_hash === hash)
    if (found) {
      const { workspaceId } = context.ctx.actor
      return (await unspill(context.ctx.blobs, workspaceId, found.result)) as Awaited<ReturnType<typeof make>>
    }
    if (kind !== 'model') throw new WouldCall()
    return make(`replay/${crypto.randomUUID()}/${key}`)
  }
}

function reportOf(
  recorded: RecordedRun,
  dry: DryFlow,
  outcome: Outcome,
  notes: ReadonlyMap<string, Note>,
  results: ReadonlyMap<string, StepOutcome>,
): RunReport {
  const counts: RunReport['counts'] = { same: 0, changed: 0, would_call: 0, added: 0, removed: 0, not_reached: 0 }
  const told: StepReport[] = []
  const costs: { recorded: (string | null)[]; replayed: (string | null)[] } = { recorded: [], replayed: [] }
  const before = [...recorded.steps.values()].filter(({ kind }) => kind !== itemKind)
  const paths = new Set([
    ...before.toSorted((a, b) => a.ordinal - b.ordinal).map(({ path }) => path),
    ...notes.keys(),
    ...results.keys(),
  ])
  for (const path of paths) {
    const row = recorded.steps.get(path)
    const note = notes.get(path)
    const now = results.get(path) ?? (note && !note.wouldCall ? row : undefined)
    const verdict = verdictOf(row, now, note, outcome)
    counts[verdict]++
    const recordedCost = row ? costOf(recorded.costs, path) : null
    const replayedCost = note?.called
      ? sumOf(dry.usage.filter((each) => each.step_path === path).map(({ cost_usd }) => cost_usd))
      : verdict === 'same' || verdict === 'changed' || verdict === 'added'
        ? (recordedCost ?? '0')
        : null
    if (row) costs.recorded.push(recordedCost)
    if (now || note) costs.replayed.push(verdict === 'would_call' ? null : replayedCost)
    if (verdict === 'same') continue
    told.push({
      path,
      kind: now?.kind ?? row?.kind ?? locate(dry.flow.definition, path)?.step.kind ?? 'unknown',
      verdict,
      called: note?.called ?? false,
      assumed: note?.assumed ?? false,
      status: { recorded: row?.status ?? null, replayed: verdict === 'would_call' ? null : (now?.status ?? null) },
      cost_usd: { recorded: recordedCost, replayed: replayedCost },
      input_changes: note?.inputChanges ?? [],
      output_changes: row && now && verdict === 'changed' ? changesOf(resultOf(row), resultOf(now)) : [],
    })
  }
  const output = outcome.kind === 'stopped' ? undefined : outcome.kind === 'succeeded' ? outcome.output : null
  return {
    status: { recorded: recorded.state, replayed: outcome.kind === 'stopped' ? null : outcome.kind },
    output_is_same: output === undefined ? null : sameJson(identityOf(recorded.output), identityOf(output)),
    output_changes: output === undefined ? [] : changesOf(identityOf(recorded.output), identityOf(output)),
    counts,
    stopped_at: outcome.kind === 'stopped' ? outcome.path : null,
    cost_usd: {
      recorded: sumOf(costs.recorded),
      replayed: outcome.kind === 'stopped' ? null : sumOf(costs.replayed),
      spent: sumOf(dry.usage.map(({ cost_usd }) => cost_usd)),
    },
    steps: told.slice(0, mostTold),
    steps_omitted: Math.max(0, told.length - mostTold),
  }
}

function verdictOf(
  row: StepRecord | undefined,
  now: StepOutcome | undefined,
  note: Note | undefined,
  outcome: Outcome,
): StepVerdict {
  if (note?.wouldCall) return 'would_call'
  if (!now) return outcome.kind === 'stopped' ? 'not_reached' : 'removed'
  if (!row) return 'added'
  return row.status === now.status && sameJson(resultOf(row), resultOf(now)) ? 'same' : 'changed'
}

const resultOf = ({ status, output, error }: StepOutcome): Json => (status === 'failed' ? error : identityOf(output))

const costOf = (costs: ReadonlyMap<string, string | null>, path: string): string | null =>
  costs.has(path) ? costs.get(path)! : '0'

/** Null where any of it is not known. */
const sumOf = (costs: readonly (string | null)[]): string | null =>
  costs.reduce<string | null>((sum, cost) => (sum === null || cost === null ? null : addDecimals(sum, cost)), '0')

const sameJson = (a: Json, b: Json): boolean => canonicalJson(a) === canonicalJson(b)

/** A report is read by people: what is long is told by its length. */
function changesOf(from: Json, to: Json): object[] {
  const cut = (value: unknown): unknown => {
    const text = JSON.stringify(value)
    return text === undefined || text.length <= largestChange ? value : { $omitted: text.length }
  }
  return diffJson(from, to)
    .slice(0, mostChanges)
    .map((change) => ({
      ...change,
      ...('from' in change && { from: cut(change.from) }),
      ...('to' in change && { to: cut(change.to) }),
    }))
}
