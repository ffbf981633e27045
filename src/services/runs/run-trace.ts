import { context, ROOT_CONTEXT, trace, type Attributes, type Context, type SpanContext } from '@opentelemetry/api'
import type { Runtime, ServiceContext, Tracing } from '../../context.ts'
import type { JsonObject } from '../../lib/json.ts'
import {
  below,
  failSpan,
  formatTraceparent,
  kindOf,
  parseTraceparent,
  spanContextOf,
  within,
} from '../../lib/tracing.ts'
import type { Step } from '../recipes/definition.ts'
import type { StepResult } from './attempts.ts'
import type { ClaimedRun } from './claim.ts'
import type { Flow, Frame } from './flow.ts'
import { Interruption } from './interruptions.ts'
import { RunLost } from './run-writer.ts'

/**
 * The trace of a run. A run may outlive every process that works on it, and a span is sent only when it has ended. So the
 * run's own span gets its ids when the run is made and is written by whoever finishes the run; all that is done for the
 * run meanwhile, slice by slice, names it as parent. What is stored:
 */
type Stored = {
  /** The run's span, in W3C form. */
  traceparent: string
  tracestate?: string
  /** The span that the run's one is a child of: of the request that asked, of the slot that fired. */
  parent: string | null
  /** When it began, by the clock of the process that made the run. */
  at: number
}

/** What a new run stores, so that its work joins the trace of what made it. */
export function traceRun(ctx: Pick<Runtime, 'tracing' | 'trace' | 'clock'>): JsonObject | null {
  if (!ctx.tracing) return null
  // Never ended: only its ids are wanted.
  const place = ctx.tracing.tracer.startSpan('run', {}, ctx.trace ?? ROOT_CONTEXT).spanContext()
  const tracestate = place.traceState?.serialize()
  const stored: Stored = {
    traceparent: formatTraceparent(place),
    ...(tracestate && { tracestate }),
    parent: spanContextOf(ctx.trace)?.spanId ?? null,
    at: ctx.clock.now().getTime(),
  }
  return stored
}

interface Place {
  span: SpanContext
  parent: SpanContext | null
  at: number
}

/** What a run's spans tell of it. */
export type TracedRun = Pick<
  ClaimedRun,
  'id' | 'workspace_id' | 'recipe_id' | 'recipe_version' | 'trigger' | 'schedule_id' | 'trace_context' | 'started_at'
>

function placeOf(run: TracedRun, tracing: Tracing): Place {
  // Safe: what `traceRun` wrote.
  const stored = run.trace_context as Stored | null
  const span = parseTraceparent(stored?.traceparent ?? null, stored?.tracestate)
  if (stored && span) {
    return { span, parent: stored.parent === null ? null : { ...span, spanId: stored.parent }, at: stored.at }
  }
  // Made where nothing was traced: ids that every process derives alike hold its slices together.
  const traceId = run.id.replaceAll('-', '')
  const derived = { traceId, spanId: traceId.slice(16), traceFlags: 0 }
  return { span: tracing.resume(derived, 'run', {}, null).spanContext(), parent: null, at: run.started_at.getTime() }
}

export interface Slice {
  /** To work in: its trace is the slice, its log names both. */
  ctx: ServiceContext
  failed(kind: string): void
  /** How this worker left the run. Where the run has ended, its own span is written too. */
  end(outcome: string, isFinal: boolean): void
}

/** From a claim until the run ends, parks, is handed back or lost. Null where nothing is traced. */
export function openSlice(ctx: ServiceContext, run: ClaimedRun, recipeName: string): Slice | null {
  const { tracing } = ctx
  if (!tracing) return null
  const place = placeOf(run, tracing)
  const attributes = {
    ...attributesOf(run, recipeName),
    'automatos.run.fence': run.fence,
    'automatos.instance': ctx.instance,
  }
  const span = tracing.tracer.startSpan('run.slice', { attributes }, below(place.span))
  let failure: string | null = null
  return {
    ctx: within({ ...ctx, trace: below(place.span) }, span),
    failed(kind) {
      failure = kind
    },
    end(outcome, isFinal) {
      span.setAttribute('automatos.run.outcome', outcome)
      span.end()
      if (isFinal) writeRunSpan(tracing, run, recipeName, outcome, failure)
    },
  }
}

/** The span of the whole run. Whoever ends the run writes it, once. */
export function writeRunSpan(
  tracing: Tracing,
  run: TracedRun,
  recipeName: string,
  state: string,
  failure: string | null,
): void {
  const { span: place, parent, at } = placeOf(run, tracing)
  const attributes = { ...attributesOf(run, recipeName), 'automatos.run.state': state }
  const span = tracing.resume(place, `run ${recipeName}`, { attributes, startTime: at }, parent)
  if (failure !== null) failSpan(span, failure)
  span.end()
}

function attributesOf(run: TracedRun, recipeName: string): Attributes {
  return {
    'automatos.run.id': run.id,
    'automatos.workspace.id': run.workspace_id,
    'automatos.recipe.name': recipeName,
    'automatos.run.trigger': String(run.trigger['kind'] ?? 'unknown'),
    ...(run.recipe_id !== null && { 'automatos.recipe.id': run.recipe_id }),
    ...(run.recipe_version !== null && { 'automatos.recipe.version': run.recipe_version }),
    ...(run.schedule_id !== null && { 'automatos.schedule.id': run.schedule_id }),
  }
}

/** A visit to a step in this slice. What it does gets the frame to hand on. */
export async function inStepSpan(
  flow: Flow,
  step: Step,
  path: string,
  frame: Frame,
  work: (frame: Frame) => Promise<StepResult>,
): Promise<StepResult> {
  if (frame.trace === null) return work(frame)
  const attributes = { 'automatos.step.kind': step.kind, 'automatos.step.path': path }
  const span = flow.runtime.tracing!.tracer.startSpan(`${step.kind} ${step.id}`, { attributes }, frame.trace)
  const place = trace.setSpan(frame.trace, span)
  try {
    const result = await context.with(place, () => work({ ...frame, trace: place }))
    span.setAttribute('automatos.step.status', result.status)
    if (result.status === 'failed') failSpan(span, String(result.error['kind'] ?? 'unknown'))
    return result
  } catch (error) {
    // The run was stopped, handed back or taken over: nothing that this step did wrong.
    if (isInterruption(error)) span.setAttribute('automatos.step.status', 'interrupted')
    else failSpan(span, kindOf(error))
    throw error
  } finally {
    span.end()
  }
}

/** One attempt of a step that may be tried again; a step that has one attempt needs no span beside its own. */
export async function inAttemptSpan<T>(
  flow: Flow,
  step: Step,
  frame: Frame,
  attempt: number,
  work: (frame: Frame) => Promise<T>,
): Promise<T> {
  if (frame.trace === null || !step.retry) return work(frame)
  const attributes = { 'automatos.step.attempt': attempt, 'automatos.step.max_attempts': step.retry.max_attempts }
  const span = flow.runtime.tracing!.tracer.startSpan(`attempt ${attempt}`, { attributes }, frame.trace)
  const place = trace.setSpan(frame.trace, span)
  try {
    return await context.with(place, () => work({ ...frame, trace: place }))
  } catch (error) {
    if (!isInterruption(error)) failSpan(span, kindOf(error))
    throw error
  } finally {
    span.end()
  }
}

const isInterruption = (error: unknown) => error instanceof Interruption || error instanceof RunLost

/** The context that services get from a step: theirs is the place where the step stands. */
export function contextAt(flow: Flow, place: Context | null): ServiceContext {
  const span = place && trace.getSpan(place)
  return span ? within({ ...flow.ctx, trace: place }, span) : flow.ctx
}
