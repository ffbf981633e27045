import type { ServiceContext } from '../../context.ts'
import type { Json, JsonObject } from '../../lib/json.ts'

export interface ToolOptions {
  signal: AbortSignal
  /** Sent along by tools with an outside effect, so that a repeated call is recognised. */
  idempotencyKey: string
  /** The run's recorded instant: the same however often the run resumes. */
  now: Date
  /** As the model named it. */
  callId?: string
}

export interface Tool {
  name: string
  description: string
  /** JSON Schema of the arguments. */
  parameters: JsonObject
  /** It sends to an address of the model's choice. */
  reachesOut: boolean
  run(ctx: ServiceContext, args: JsonObject, options: ToolOptions): Promise<Json>
}

/** A failure that the model should read and may repair: wrong arguments, a host that is refused, a server that is down. */
export class ToolError extends Error {
  readonly kind: string
  constructor(kind: string, detail: string) {
    super(detail)
    this.name = 'ToolError'
    this.kind = kind
  }
}
