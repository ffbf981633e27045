import type { Json } from '../../lib/json.ts'
import type { NotifyStep } from '../recipes/definition.ts'
import type { CallKind, StepContext } from '../runs/step-executor.ts'

/** What is told, whatever the way. */
export interface Notice {
  message: string
  data: Json | undefined
  /** What a webhook is sent instead of message and data. */
  body?: Json
}

/** Who is told, and how: a step of kind notify, or a notice of a failure. */
export type Address = Pick<NotifyStep, 'id' | 'log' | 'webhook' | 'email'>

/** What a channel needs of whoever tells. */
export type TellingContext = Pick<StepContext, 'ctx' | 'runId' | 'signal' | 'log' | 'renderText'>

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
  /** Null: the address is of another channel. */
  write(address: Address, notice: Notice, context: TellingContext): Letter | null
}
