import type { Json } from '../../lib/json.ts'
import type { NotifyStep } from '../recipes/definition.ts'
import type { CallKind, StepContext } from '../runs/step-executor.ts'

/** What is told, whatever the way. */
export interface Notice {
  message: string
  data: Json | undefined
}

/** A notice made ready: all that its sending depends on, so that a repeat after a crash sends the same. */
export interface Letter {
  /** How the call is recorded. */
  kind: CallKind
  /** What is sent, as the record of the call holds it; without secrets. */
  request: Json
  /** Sends it. The key is the same however often the step resumes: receivers may drop a repeat by it. */
  send(idempotencyKey: string): Promise<Json>
}

/**
 * A way to tell somebody. A further one is a field of the step, an object like this and a line in `channels`. Throws
 * StepError, both where the notice cannot be written and where it cannot be sent.
 */
export interface Channel {
  /** Null: the step names another channel. */
  write(step: NotifyStep, notice: Notice, context: StepContext): Letter | null
}
