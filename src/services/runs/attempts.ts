import { EgressError } from '../../lib/egress-error.ts'
import { formatDuration, parseDuration } from '../../lib/duration.ts'
import { AppError } from '../../lib/errors.ts'
import { sha256Hex, canonicalJson } from '../../lib/canonical.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { LanguageError } from '../../lib/language/scope.ts'
import { renderText } from '../../lib/language/template.ts'
import { renderTree } from '../../lib/language/tree.ts'
import { stepDefaults, type Step } from '../recipes/definition.ts'
import type { Flow, Frame } from './flow.ts'
import { Interruption, ItemAborted } from './interruptions.ts'
import { isBlocked, looksOf, restForBudget } from './blocked.ts'
import { forPurpose } from '../http/purpose.ts'
import { throughOutages } from './outage.ts'
import type { StepRecord } from './records.ts'
import { contextAt, inAttemptSpan } from './run-trace.ts'
import { RunLost, type StepDraft } from './run-writer.ts'
import { asStored, spill } from './spill.ts'
import { StepBlocked, StepError, type StepContext } from './step-executor.ts'

export type StepResult =
  | { status: 'succeeded'; output: Json }
  | { status: 'skipped' }
  | { status: 'failed'; error: JsonObject }
  | { status: 'parked' }

/** The row of a step that has not begun, or as it was found. */
export function draftOf(flow: Flow, step: Step, path: string, frame: Frame, record: StepRecord | undefined): StepDraft {
  return {
    path,
    parent: frame.parent,
    ordinal: record?.ordinal ?? flow.nextOrdinal(),
    step_id: step.id,
    kind: step.kind,
    status: record?.status ?? 'pending',
    attempts: record?.attempts ?? 0,
    output: record?.output ?? null,
    error: record?.error ?? null,
    state: record?.state ?? null,
    delay_ms: null,
    wake_at: null,
    startedMs: null,
    finishedMs: null,
  }
}

/** `news` is what its event tells besides. */
export async function succeed(flow: Flow, draft: StepDraft, output: Json, news: JsonObject = {}): Promise<StepResult> {
  const stored = await spill(flow.runtime.blobs, flow.run.workspace_id, flow.run.id, asStored(output))
  flow.write({
    ...draft,
    status: 'succeeded',
    output: stored,
    error: null,
    finishedMs: flow.runtime.clock.monotonicMs(),
  })
  flow.emit('step.succeeded', { path: draft.path, kind: draft.kind, attempts: draft.attempts, ...news })
  return { status: 'succeeded', output: stored }
}

export function failStep(flow: Flow, draft: StepDraft, error: JsonObject): StepResult {
  flow.write({ ...draft, status: 'failed', output: null, error, finishedMs: flow.runtime.clock.monotonicMs() })
  flow.emit('step.failed', { path: draft.path, kind: draft.kind, error })
  return { status: 'failed', error }
}

/** Runs a step that does something, with its retries. */
export async function runAttempts(
  flow: Flow,
  step: Step,
  path: string,
  frame: Frame,
  record: StepRecord | undefined,
): Promise<StepResult> {
  let draft = draftOf(flow, step, path, frame, record)
  // A budget may have been raised in the meantime: whoever waits for one looks again.
  if (record?.status === 'waiting' && record.wake_at && !isBlocked(record)) {
    const verdict = await rest(flow, path, record.wake_at.getTime() - flow.nowMs(), frame.signal)
    if (verdict === 'parked') return { status: 'parked' }
    draft = { ...draft, status: 'pending', attempts: draft.attempts + 1 }
  } else draft = { ...draft, attempts: Math.max(1, draft.attempts) }

  const calls = record ? await flow.recordedCalls(path) : new Map<string, { result: Json | undefined }>()
  const hasEffect = step.kind !== 'transform' && step.kind !== 'fail'
  let looks = looksOf(record)
  for (;;) {
    flow.startable(frame.signal)
    if (hasEffect && !flow.places.take()) await awaitPlace(flow, frame.signal)
    draft = { ...draft, status: 'running', delay_ms: null, wake_at: null }
    draft.startedMs ??= flow.runtime.clock.monotonicMs()
    const current = draft
    flow.begin(current)
    const setState = (state: JsonObject) => {
      draft = { ...draft, state }
      flow.write(draft)
    }
    let error: StepError
    const seen = flow.resting.budgetNudges
    try {
      const output = await inAttemptSpan(flow, step, frame, current.attempts, (inner) => {
        const make = () => attempt(flow, step, path, inner, { ...current, state: draft.state }, calls, setState)
        // What is made once and came to nothing known is not begun again.
        return step.once ? make() : throughOutages(flow, make)
      })
      return await succeed(flow, draft, output)
    } catch (thrown) {
      error = asStepError(flow, thrown)
    } finally {
      if (hasEffect) flow.places.give()
    }
    if (error instanceof StepBlocked) {
      const verdict = await restForBudget(flow, draft, error, looks++, seen, frame.signal)
      if (verdict === 'parked') return { status: 'parked' }
      continue
    }
    const view = errorView(error, draft.attempts)
    const delayMs = retryDelayMs(step, error, draft.attempts)
    if (delayMs === null) return failStep(flow, draft, view)
    flow.runtime.measures?.stepRetries.add(1, step.kind)
    draft = { ...draft, status: 'waiting', error: view, delay_ms: delayMs }
    flow.writeRetry(draft)
    flow.emit('step.retrying', { path, error: view, delay_ms: Math.round(delayMs) })
    if ((await rest(flow, path, delayMs, frame.signal)) === 'parked') return { status: 'parked' }
    draft = { ...draft, attempts: draft.attempts + 1 }
  }
}

/** Meanwhile the run may have been told to stand still. */
async function awaitPlace(flow: Flow, signal: AbortSignal): Promise<void> {
  await flow.places.wait(signal)
  try {
    flow.startable(signal)
  } catch (error) {
    flow.places.give()
    throw error
  }
}

/** Rests on behalf of a run; whoever lets go of its runs does not wait for those that rest. */
export function rest(flow: Flow, path: string, ms: number, signal: AbortSignal, wakeAt: string | null = null) {
  return flow.resting.rest(path, ms, wakeAt, signal)
}

async function attempt(
  flow: Flow,
  step: Step,
  path: string,
  frame: Frame,
  draft: StepDraft,
  calls: Map<string, { result: Json | undefined }>,
  setState: (state: JsonObject) => void,
): Promise<Json> {
  const blame = flow.blame(path)
  if (blame !== null) throw new StepError('crash_loop', blame, { retryable: false })
  const scope = flow.scope(frame)
  const warned = new Set<string>()
  const onWarning = (message: string) => {
    if (warned.has(message)) return
    warned.add(message)
    flow.log('warn', message, { path })
  }
  if (step.kind === 'transform') return renderTree(step.value, scope, onWarning)
  if (step.kind === 'fail')
    throw new StepError(step.reason ?? 'failed', renderText(step.message, scope, onWarning), { retryable: false })

  const executor = flow.executors[step.kind]
  if (!executor) throw new StepError('internal', `No executor for steps of kind ${step.kind}.`, { retryable: false })
  const timeoutMs = timeoutOf(flow, step)
  const limit = timeoutMs === null ? null : timeLimit(timeoutMs)
  const once = step.once ? onceSignal(flow, frame.signal) : null
  const cutOff = once?.signal ?? frame.signal
  const signal = limit === null ? cutOff : AbortSignal.any([cutOff, limit.signal])
  // An executor that heeds its signal late, or not at all, goes on behind an attempt that has ended.
  let live = true
  // What is made once has begun by then: it must not be begun again.
  const rests = !step.once && !flow.isDry && flow.run.trigger['interactive'] !== true
  const context: StepContext = {
    ctx: forPurpose(contextAt(flow, frame.trace), { runId: flow.run.id, step: path }),
    runId: flow.run.id,
    path,
    attempt: draft.attempts,
    signal,
    now: flow.run.started_at.toISOString(),
    state: draft.state,
    setState: (state) => {
      if (live) setState(state)
    },
    render: (template) => renderTree(template, scope, onWarning),
    renderText: (template) => renderText(template, scope, onWarning),
    recorded: (key) => calls.get(`${flow.run.generation}/${path}/${key}`)?.result,
    emit: (type, data) => {
      if (live) flow.emit(type, { path, ...data })
    },
    text: (delta) => {
      if (live) flow.emit('text.delta', { path, text: delta })
    },
    log: (level, message, fields) => {
      if (live) flow.log(level, message, { path, ...fields })
    },
    usage: (usage, agentId) => flow.countUsage(usage, agentId, path),
    charge: (key, agentId) =>
      flow.charge({ key: `${path}/${key}`, attempt: draft.attempts, agentId, once: step.once === true, rests }),
    waitsForBudget: rests,
    async effect(key, kind, request, make, options) {
      const full = `${flow.run.generation}/${path}/${key}`
      const known = calls.get(full)
      if (known?.result !== undefined) return known.result as Awaited<ReturnType<typeof make>>
      if (known)
        throw new StepError(
          'outcome_unknown',
          'The effect was started before a crash; whether it happened is not known.',
          {
            retryable: false,
          },
        )
      const makeAndRecord = async () => {
        const result = await make(`${flow.run.id}/${full}`)
        // The attempt after this one makes the same call: two results of one key would leave it open which one counts.
        if (!live && !step.once) throw signal.reason
        const final = options?.final?.(result) ?? false
        // A final http answer is the step's output: its own row records it.
        if (final && kind === 'http' && !step.once) return result
        const value = asStored(result) as typeof result
        const stored = await spill(flow.runtime.blobs, flow.run.workspace_id, flow.run.id, value)
        flow.writer.call({ key: full, kind, request_hash: hashOf(request), result: stored })
        calls.set(full, { result: value })
        if (!final) await flow.writer.commit()
        return value
      }
      if (once) {
        return flow.makeOnce({ key: full, kind, request_hash: hashOf(request) }, signal, () => {
          once.sent()
          return makeAndRecord()
        })
      }
      await flow.readyForEffect(signal)
      return makeAndRecord()
    },
  }
  try {
    return await untilAborted(executor(step as never, context), signal)
  } finally {
    live = false
    limit?.clear()
    once?.clear()
  }
}

const hashOf = (request: Json): string => sha256Hex(canonicalJson(request))

function timeLimit(ms: number): { signal: AbortSignal; clear: () => void } {
  const controller = new AbortController()
  const over = () => controller.abort(new StepError('timeout', `The step took longer than ${formatDuration(ms)}.`))
  const timer = setTimeout(over, Math.min(ms, 2 ** 31 - 1))
  return { signal: controller.signal, clear: () => clearTimeout(timer) }
}

/**
 * What cuts off a step that is made once. After its effect was sent, that a step beside it has failed does not: it ends and is
 * recorded, or a retry of the run would make it anew. What ends the run itself still does.
 */
function onceSignal(flow: Flow, around: AbortSignal) {
  const controller = new AbortController()
  let isSent = false
  const onAbort = () => {
    if (!isSent || !(around.reason instanceof ItemAborted)) controller.abort(around.reason)
  }
  if (around.aborted) onAbort()
  around.addEventListener('abort', onAbort, { once: true })
  return {
    signal: AbortSignal.any([controller.signal, flow.abort.signal]),
    sent: () => {
      isSent = true
    },
    clear: () => around.removeEventListener('abort', onAbort),
  }
}

/** A slice of work on Workers is cut by the platform after fifteen minutes and starts steps for five. */
const longestOnWorkersMs = 8 * 60_000

function timeoutOf(flow: Flow, step: Step): number | null {
  const timeoutMs = step.timeout === undefined ? null : parseDuration(step.timeout)
  if (flow.runtime.platform !== 'workers') return timeoutMs
  if (timeoutMs !== null && timeoutMs > longestOnWorkersMs)
    throw new StepError('timeout_too_long', `On Workers a step may take 8m at most, not ${step.timeout}.`, {
      retryable: false,
    })
  return timeoutMs ?? longestOnWorkersMs
}

/** An effect that does not heed its signal is left behind: the run goes on without it. */
function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work
      .then(resolve, (error: unknown) => reject(signal.aborted ? signal.reason : error))
      .finally(() => signal.removeEventListener('abort', onAbort))
  })
}

/** Interruptions and lost leases pass through: they are not the step's failure. */
export function asStepError(flow: Flow, thrown: unknown): StepError {
  if (thrown instanceof Interruption || thrown instanceof RunLost) throw thrown
  if (thrown instanceof StepError) return thrown
  if (thrown instanceof LanguageError) return new StepError('expression', thrown.message, { retryable: false })
  if (thrown instanceof EgressError)
    return new StepError(thrown.kind, thrown.message, { retryable: thrown.kind !== 'egress-refused' })
  if (thrown instanceof AppError && thrown.kind === 'unavailable') {
    flow.ctx.log.warn('A step needed a part that is away.', { error: thrown })
    return new StepError(thrown.kind, thrown.detail, { retryable: true, cause: thrown })
  }
  flow.ctx.log.error('A step failed unexpectedly.', { error: thrown })
  // An unforeseen message may carry a URL or a key; it stays in the log.
  return new StepError('internal', 'The step failed unexpectedly.', { retryable: true })
}

/** `steps.x.error`, and the error of an execution. */
export function errorView(error: StepError, attempts: number): JsonObject {
  return { kind: error.kind, detail: error.message, status: error.status ?? null, attempts }
}

/** Exponential backoff with full jitter; null: do not try again. */
export function retryDelayMs(step: Step, error: StepError, attempts: number): number | null {
  const policy = step.retry
  if (!policy || attempts >= policy.max_attempts || error.kind === 'crash_loop' || error.kind === 'outcome_unknown')
    return null
  if (policy.retry_on ? !policy.retry_on.includes(error.kind) : !error.retryable) return null
  const base = parseDuration(policy.backoff ?? stepDefaults.retry.backoff) ?? 1_000
  const most = parseDuration(policy.max_delay ?? stepDefaults.retry.max_delay) ?? 300_000
  const delay = Math.random() * Math.min(most, base * 2 ** (attempts - 1))
  return Math.max(delay, Math.min(error.retryAfterMs ?? 0, most))
}
