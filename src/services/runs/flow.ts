import type { Context } from '@opentelemetry/api'
import type { Actor, Runtime, ServiceContext } from '../../context.ts'
import type { StepStatus } from '../../db/tables/runs.table.ts'
import { addDecimals } from '../../lib/decimal.ts'
import { uuidv7 } from '../../lib/ids.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { Scope } from '../../lib/language/scope.ts'
import { actingIn } from '../acting-in.ts'
import type { ModelUsage } from '../models/types.ts'
import type { RecipeDefinition, Step } from '../recipes/definition.ts'
import type { StepResult } from './attempts.ts'
import { chargeOf, type ChargeOf } from './budget.ts'
import type { CallWrite } from './checkpoint.ts'
import type { ClaimedRun } from './claim.ts'
import { RunCanceled, RunPaused, RunReleased } from './interruptions.ts'
import {
  hasEnded,
  itemKind,
  loadCalls,
  loadEndedItems,
  loadItemOutputs,
  loadRecords,
  type EndedItem,
  type StepRecord,
} from './records.ts'
import { parallelOf, Places } from './places.ts'
import { Resting } from './resting.ts'
import { openSlice, type Slice } from './run-trace.ts'
import { RunLost, type RunWriter, type StepDraft } from './run-writer.ts'
import { unspill } from './spill.ts'
import { steadily } from './steadily.ts'
import type { StepExecutors } from './step-executor.ts'

/** A confirmation older than this is renewed before an effect starts; the lease itself lasts twice as long. */
const freshLeaseMs = 15_000

const stepsInOneTurn = 50

/** Steps that a crash loop's error names. */
const mostNamed = 10

/** What steps of one list can see: the steps before them, those around them, and the loop's variable. */
export interface Frame {
  /** Path of the nearest enclosing foreach item, '' outside. */
  parent: string
  steps: { [id: string]: JsonObject }
  variables: JsonObject
  signal: AbortSignal
  /** The span around; null where nothing is traced. */
  trace: Context | null
}

/** Takes a step's place where a run is gone through without its effects; `enter` is the step itself. */
export type StandIn = (step: Step, path: string, frame: Frame, enter: () => Promise<StepResult>) => Promise<StepResult>

export interface FlowDeps {
  runtime: Runtime
  executors: StepExecutors
  /** Renews this run's lease now; false: it is lost. */
  renew: (writer: RunWriter) => Promise<boolean>
  previous: Json
  standIn?: StandIn
  /** Where the outputs of a foreach's items are read; default: their rows. */
  itemOutputs?: (path: string) => Json[]
  /** How many of its items a foreach takes; default: all. */
  itemsTaken?: (count: number) => number
  /** Nothing of it is stored. */
  dry?: boolean
}

/** One run while this process advances it: its definition, what is stored of it, its pen and its clock. */
export class Flow {
  readonly run: ClaimedRun
  readonly definition: RecipeDefinition
  readonly runtime: Runtime
  readonly ctx: ServiceContext
  /** Of the trace; null where nothing is traced. */
  readonly slice: Slice | null
  readonly writer: RunWriter
  readonly executors: StepExecutors
  readonly places: Places
  records: Map<string, StepRecord>
  resting: Resting
  readonly root: Frame
  /** Who pays for what it asks models. */
  readonly charge: ChargeOf
  readonly abort = new AbortController()
  /** Set when the process wants to let go of its runs: no step starts any more. */
  releasing = false
  /** Commands of the inbox that this owner has taken up. */
  readonly appliedCommands = new Set<string>()
  /** Set when the run is to be canceled, whatever else interrupts it. */
  canceled: RunCanceled | null = null
  /** The command to pause, until the run has paused or the command is withdrawn. No step starts meanwhile. */
  pausing: { id: string; reason: string | null } | null = null
  /** Effects of `once` steps between the mark of their start and the record of their result. */
  onceInFlight = 0
  /** The process ended at each of the last recoveries: the steps that were under way, as far as rows tell. Null: it did not. */
  #suspects: string[] | null = null
  readonly #deps: FlowDeps
  readonly #claimedMs: number
  readonly #scopeBase: Scope
  /** Steps whose rows say that they have not ended, those of earlier owners included. */
  readonly #open = new Map<string, StepDraft>()
  #ordinal: number
  #stepsInThisTurn = 0
  #totals: JsonObject
  /** No worker held it before, and this one has not gone through it yet: no call of it is recorded. */
  #first: boolean

  constructor(
    run: ClaimedRun,
    records: Map<string, StepRecord>,
    writer: RunWriter,
    deps: FlowDeps,
    claimedMs: number,
    maxRecoveries: number,
  ) {
    this.run = run
    this.definition = run.definition as unknown as RecipeDefinition
    this.records = records
    this.writer = writer
    this.runtime = deps.runtime
    this.executors = deps.executors
    this.#deps = deps
    this.#claimedMs = claimedMs
    if (run.recoveries >= maxRecoveries)
      this.#suspects = [...records.values()].filter(isUnderWay).map(({ path }) => path)
    this.places = new Places(parallelOf(this.definition))
    this.resting = new Resting(deps.runtime.clock)
    this.#totals = run.usage
    this.#first = run.first
    this.#ordinal = Math.max(0, ...[...records.values()].filter((r) => r.kind !== 'item').map((r) => r.ordinal)) + 1
    const actor: Actor = { kind: 'system', id: run.id, workspaceId: run.workspace_id, permissions: new Set() }
    const ctx = actingIn(deps.runtime, actor, deps.runtime.log.with({ run_id: run.id }))
    this.slice = openSlice(ctx, run, this.definition.name)
    this.ctx = this.slice?.ctx ?? ctx
    for (const record of records.values()) if (!hasEnded(record.status)) this.#open.set(record.path, openDraft(record))
    const startedAt = run.started_at.toISOString()
    this.#scopeBase = {
      input: run.input,
      trigger: run.trigger,
      run: { id: run.id, started_at: startedAt, slot_at: run.slot_at?.toISOString() ?? null },
      now: startedAt,
      previous: deps.previous,
    }
    this.root = {
      parent: '',
      steps: notYetRun(this.definition.steps),
      variables: {},
      signal: this.abort.signal,
      trace: this.slice?.ctx.trace ?? null,
    }
    this.charge = chargeOf(this)
  }

  /** The database's clock, or a little before it: counted from the claim on this process's monotonic clock. */
  nowMs(): number {
    return this.run.now.getTime() + this.runtime.clock.monotonicMs() - this.#claimedMs
  }

  get isDry(): boolean {
    return this.#deps.dry === true
  }

  get standIn(): StandIn | undefined {
    return this.#deps.standIn
  }

  /** How many of its items a foreach works through. */
  itemsTaken(path: string, count: number): number {
    const taken = this.#deps.itemsTaken?.(count) ?? count
    if (taken < count) this.log('warn', `Only the first ${taken} of ${count} items were taken.`, { path })
    return taken
  }

  /** Items that earlier owners have brought to their end. */
  endedItems(path: string, withErrors: boolean): Promise<Map<number, EndedItem>> {
    return this.read(() => loadEndedItems(this.runtime.db, this.run.id, path, withErrors))
  }

  /** In the order of the items. The rows are the results, so they are stored before they are read. */
  async *itemOutputs(path: string, count: number): AsyncGenerator<Json> {
    await this.writer.commit()
    const { itemOutputs } = this.#deps
    if (itemOutputs) yield* itemOutputs(path)
    else yield* loadItemOutputs((statement) => this.read(statement), this.runtime.db, this.run.id, path, count)
  }

  scope(frame: Frame): Scope {
    return { ...this.#scopeBase, steps: frame.steps, ...frame.variables }
  }

  emit(type: string, data: JsonObject): void {
    this.writer.event(type, data)
  }

  log(level: 'info' | 'warn' | 'error', message: string, fields: JsonObject = {}): void {
    this.emit('log', { level, message, ...fields })
  }

  nextOrdinal(): number {
    return this.#ordinal++
  }

  /** Writes a step's state; it goes with the next checkpoint. Ended steps count as progress. */
  write(draft: StepDraft): void {
    const ended = draft.finishedMs !== null
    if (ended) this.#open.delete(draft.path)
    else this.#open.set(draft.path, draft)
    this.writer.step(draft, ended)
  }

  /** Writes that a step begins its work. */
  begin(draft: StepDraft): void {
    this.#open.set(draft.path, draft)
    this.writer.begun(draft, 'step.started', { path: draft.path, kind: draft.kind, attempt: draft.attempts })
  }

  /** Writes that a step is to be tried again. */
  writeRetry(draft: StepDraft): void {
    this.#open.set(draft.path, draft)
    this.writer.failedAttempt(draft)
  }

  /** How the rows of steps that have begun and not ended should read when they are left: all, or those below a path. */
  closeOpenSteps(status: Extract<StepStatus, 'canceled' | 'pending'>, below = ''): void {
    const nowMs = this.runtime.clock.monotonicMs()
    for (const draft of [...this.#open.values()]) {
      if (!draft.path.startsWith(below)) continue
      if (status === 'canceled') this.write({ ...draft, status, finishedMs: nowMs, delay_ms: null, wake_at: null })
      // What waits for its time goes on waiting for it, whoever takes over.
      else if (draft.status === 'running') this.writer.step({ ...draft, status })
    }
  }

  /** A checkpoint was refused: the steps it spoke of are open again as far as the rows tell. */
  reopenDropped(): void {
    for (const draft of this.writer.takeRefusal())
      this.#open.set(draft.path, { ...draft, output: null, finishedMs: null })
  }

  cancel(reason: string): void {
    this.canceled ??= new RunCanceled(reason)
    this.abort.abort(this.canceled)
  }

  /**
   * Goes back to what is stored. A run that meant to park and stayed for a command is gone through again from its beginning,
   * and must find there what it has done since it was claimed.
   */
  async reload(): Promise<void> {
    this.records = await this.read(() => loadRecords(this.runtime.db, this.run.id))
    this.#first = false
    this.resting = new Resting(this.runtime.clock)
    this.#open.clear()
    for (const record of this.records.values())
      if (!hasEnded(record.status)) this.#open.set(record.path, openDraft(record))
    this.root.steps = notYetRun(this.definition.steps)
  }

  /** Before each effect: all results so far are committed, the lease is surely ours, and nobody wants the run to stop. */
  async readyForEffect(signal: AbortSignal): Promise<void> {
    this.#mayAct(signal)
    await this.confirmLease()
    this.#mayAct(signal)
  }

  /**
   * Makes an effect that is made once, behind the committed `marker` of its start. Once that is written a drain waits for the
   * result: handed back before, what was never made would read as begun.
   */
  async makeOnce<T>(marker: CallWrite, signal: AbortSignal, make: () => Promise<T>): Promise<T> {
    this.#mayAct(signal)
    this.onceInFlight++
    try {
      this.writer.call(marker)
      await this.confirmLease()
      signal.throwIfAborted()
      return await make()
    } finally {
      this.onceInFlight--
    }
  }

  /** All results so far are committed, and nobody else can have taken the run over. */
  async confirmLease(): Promise<void> {
    // After a crash the rows tell what was under way at the next.
    await (this.run.recoveries > 0 ? this.writer.commit() : this.writer.settled())
    if (this.runtime.clock.monotonicMs() - this.writer.confirmedMs > freshLeaseMs) {
      if (!(await this.read(() => this.#deps.renew(this.writer)))) throw new RunLost()
    }
    if (this.writer.lost) throw new RunLost()
  }

  /** Throws where no step may begin. */
  startable(signal: AbortSignal): void {
    this.#mayAct(signal)
    if (this.pausing) throw new RunPaused()
  }

  /** A pause lets a step that has begun come to its end, with all its effects. */
  #mayAct(signal: AbortSignal): void {
    signal.throwIfAborted()
    if (this.writer.lost) throw new RunLost()
    if (this.releasing) throw new RunReleased()
  }

  /**
   * Why a step is not begun any more: the process ended each time it was under way. All that were then are held back, or those
   * that are not the cause would be so one after the other; where no row tells of any, it is the first that is met.
   */
  blame(path: string): string | null {
    const suspects = this.#suspects
    if (!suspects) return null
    if (suspects.length === 0) this.#suspects = null
    else if (!suspects.includes(path)) return null
    if (suspects.length < 2) return 'The process ended each time this step ran.'
    const more = suspects.length > mostNamed ? ` and ${suspects.length - mostNamed} more` : ''
    return `The process ended each time these steps were under way: ${suspects.slice(0, mostNamed).join(', ')}${more}.`
  }

  /** Asks the database on the run's behalf, again and again where it does not answer. */
  read<T>(statement: () => Promise<T>): Promise<T> {
    return steadily(this.writer, this.runtime.clock, statement)
  }

  /** Steps without an effect follow each other in one turn of the event loop; leases, timers and commands need theirs. */
  async breathe(): Promise<void> {
    if (++this.#stepsInThisTurn < stepsInOneTurn) return
    this.#stepsInThisTurn = 0
    await new Promise((resolve) => setTimeout(resolve))
  }

  /** Recorded effects of a step. A run that nobody held before has none. */
  async recordedCalls(path: string): Promise<Map<string, { result: Json | undefined }>> {
    if (this.#first) return new Map()
    const calls = await this.read(() => loadCalls(this.runtime.db, this.run.id, `${this.run.generation}/${path}`))
    for (const call of calls.values())
      if (call.result !== undefined) call.result = await unspill(this.runtime.blobs, this.run.workspace_id, call.result)
    return calls
  }

  /** Of the model calls of this run alone, those that no checkpoint has stored yet included; null: not known. */
  get cost(): string | null {
    const { cost_usd: cost = '0' } = this.#totals
    return typeof cost === 'string' ? cost : null
  }

  countUsage(usage: ModelUsage, agentId: string | null, path: string): void {
    const t = this.#totals
    const known = t['cost_usd'] === undefined ? '0' : t['cost_usd']
    this.#totals = {
      model_calls: Number(t['model_calls'] ?? 0) + 1,
      input_tokens: Number(t['input_tokens'] ?? 0) + (usage.input_tokens ?? 0),
      output_tokens: Number(t['output_tokens'] ?? 0) + (usage.output_tokens ?? 0),
      // One call of unknown cost makes the sum unknown: never a sum that leaves something out.
      cost_usd: typeof known === 'string' && usage.cost_usd !== null ? addDecimals(known, usage.cost_usd) : null,
    }
    this.writer.usage(
      { ...usage, id: uuidv7(), key_id: this.run.created_by, agent_id: agentId, step_path: path },
      this.#totals,
    )
    this.emit('usage', {
      path,
      provider: usage.provider,
      model: usage.model,
      status: usage.status,
      input_tokens: usage.input_tokens,
      output_tokens: usage.output_tokens,
      cost_usd: usage.cost_usd,
    })
  }
}

/** What is around a step, and a step that waits, does nothing itself. */
const isUnderWay = ({ status, kind }: StepRecord): boolean =>
  status === 'running' && kind !== 'branch' && kind !== 'foreach' && kind !== itemKind

const openDraft = (record: StepRecord): StepDraft => ({
  ...record,
  wake_at: record.wake_at?.toISOString() ?? null,
  delay_ms: null,
  startedMs: null,
  finishedMs: null,
})

/** Every step that a list's expressions may name, before it has run: output null, so that nothing is undefined. */
export function notYetRun(steps: readonly Step[]): { [id: string]: JsonObject } {
  const views: { [id: string]: JsonObject } = {}
  for (const step of steps) {
    views[step.id] = { status: 'pending', output: null, error: null }
    if (step.kind === 'branch') {
      for (const list of [...step.cases.map((each) => each.steps), step.default ?? []])
        Object.assign(views, notYetRun(list))
    }
  }
  return views
}
