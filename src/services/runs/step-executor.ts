import type { ServiceContext } from '../../context.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { Charge, BudgetRefusal } from '../budgets/hold.ts'
import type { ModelUsage } from '../models/types.ts'

export type CallKind = 'model' | 'tool' | 'http' | 'notify'

/** Why a step failed, as `steps.x.error` shows it. `kind` is what `retry_on` names. */
export class StepError extends Error {
  readonly kind: string
  readonly status: number | undefined
  /** False: retrying cannot help (bad input, refused by policy). */
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined
  constructor(
    kind: string,
    detail: string,
    options: { status?: number; retryable?: boolean; retryAfterMs?: number; cause?: unknown } = {},
  ) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'StepError'
    this.kind = kind
    this.status = options.status
    this.retryable = options.retryable ?? true
    this.retryAfterMs = options.retryAfterMs
  }
}

/** A budget has no room for a call of the step, and will have some. */
export class StepBlocked extends StepError {
  readonly budgetId: string
  /** When for sure; null: as soon as calls under way have told what they cost. */
  readonly until: Date | null
  constructor(refused: BudgetRefusal) {
    super('budget_exceeded', refused.message, { retryable: false, cause: refused })
    this.budgetId = refused.refusal.budgetId
    this.until = refused.refusal.until
  }
}

/** What the engine lends to a step while it runs. */
export interface StepContext {
  /** Services, acting as the run's workspace. */
  ctx: ServiceContext
  runId: string
  /** `each/3/note`, with the visit: unique within the run and generation. */
  path: string
  attempt: number
  /** The run's recorded instant (ISO), the same on every resume. */
  now: string
  /** Aborts on cancel, timeout, lost lease and drain. Effects must heed it. */
  signal: AbortSignal
  /** Renders a template tree (Liquid texts, `{"$expr"}`) of the step in its scope. Throws StepError. */
  render(template: Json): Json
  renderText(template: string): string
  /** Recorded result of an effect of this step, if it was committed before: then the effect must not be made again. */
  recorded(key: string): Json | undefined
  /**
   * Makes an effect and records its result. `key` is unique within the step: `<round>.<call>`. `effect` gets the
   * Idempotency-Key to send. With `final`, the result is not committed on its own: it folds into the step's own
   * checkpoint, so the caller must return right after it.
   */
  effect<T extends Json>(
    key: string,
    kind: CallKind,
    request: Json,
    effect: (idempotencyKey: string) => Promise<T>,
    options?: { final?: (result: T) => boolean },
  ): Promise<T>
  /** What the step stores for itself to go on after a resume; written with the next checkpoint. */
  state: JsonObject | null
  setState(state: JsonObject): void
  /** Adds to the run's event log, with the next checkpoint or within 200 ms. */
  emit(type: string, data: JsonObject): void
  text(delta: string): void
  usage(usage: ModelUsage, agentId: string | null): void
  /** Who pays for a round with a model, named as an effect is. Absent: the actor. */
  charge?: (key: string, agentId: string | null) => Charge
  /** Where a budget is spent that will have room again, the step waits for that in place of failing. */
  waitsForBudget?: boolean
  /** A line in the run's own log (event `log`). */
  log(level: 'info' | 'warn' | 'error', message: string, fields?: JsonObject): void
}

/** Runs one kind of step that has an effect. Returns the output; throws StepError to fail. Any other throw is a bug and fails the step as `internal`. */
export type StepExecutor<S = JsonObject> = (step: S, context: StepContext) => Promise<Json>

/** Executors by kind. Which step a kind takes is settled when the definition is validated. */
export type StepExecutors = { readonly [kind: string]: StepExecutor<never> }
