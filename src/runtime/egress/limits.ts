import { DatabaseAway } from '../../lib/database-away.ts'
import { EgressError } from '../../lib/egress-error.ts'

export interface Limits {
  /** Aborts when the time is up or a caller's signal does. */
  signal: AbortSignal
  /** Ends with the signal even where the work does not heed it. */
  race(work: Promise<Response>): Promise<Response>
  /** The response with its body counted; the limits end with the body. */
  cap(response: Response): Response
  /** What the caller is told: its own abort reason and a database that is away as they are, everything else an EgressError. */
  explain(error: unknown): unknown
  end(): void
}

/** One time limit over the whole exchange, body included, and one size limit over the decoded body. */
export function withLimits(options: {
  signals: (AbortSignal | undefined)[]
  timeoutMs: number
  maxBytes: number
}): Limits {
  const { timeoutMs, maxBytes } = options
  const controller = new AbortController()
  const callers = options.signals.filter((signal) => signal !== undefined)
  const onAbort = (event: Event) => controller.abort((event.target as AbortSignal).reason)
  for (const signal of callers) {
    if (signal.aborted) controller.abort(signal.reason)
    else signal.addEventListener('abort', onAbort, { once: true })
  }
  const whenAborted = new Promise<never>((_, reject) => {
    const stop = () => reject(controller.signal.reason)
    if (controller.signal.aborted) stop()
    else controller.signal.addEventListener('abort', stop, { once: true })
  })
  // It is raced by turns: between two races nobody listens, and that is no unhandled failure.
  whenAborted.catch(() => {})
  const timer = setTimeout(
    () => controller.abort(new EgressError('egress-timeout', `No complete answer within ${timeoutMs} ms.`)),
    timeoutMs,
  )
  const end = () => {
    clearTimeout(timer)
    for (const signal of callers) signal.removeEventListener('abort', onAbort)
  }
  const tooLarge = () => new EgressError('egress-too-large', `The answer is larger than ${maxBytes} bytes.`)

  const explain = (error: unknown): unknown => {
    if (controller.signal.aborted) return controller.signal.reason
    // Rules and secrets are read from the database; whoever can wait for it begins again.
    if (error instanceof EgressError || error instanceof DatabaseAway) return error
    return new EgressError('egress-failed', 'The request failed: no complete answer came back.', { cause: error })
  }

  return {
    signal: controller.signal,
    explain,
    end,
    async race(work) {
      try {
        return await Promise.race([work, whenAborted])
      } finally {
        // An answer that still comes after all is thrown away, or its connection would stay open.
        if (controller.signal.aborted) work.then(discard, () => {})
      }
    },
    cap(response) {
      if (Number(response.headers.get('content-length') ?? 0) > maxBytes && response.body !== null) {
        response.body.cancel().catch(() => {})
        throw tooLarge()
      }
      if (response.body === null) {
        end()
        return response
      }
      const { status, statusText, headers } = response
      return new Response(countedBody(response.body), { status, statusText, headers })
    },
  }

  function countedBody(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
    const reader = body.getReader()
    let bytes = 0
    let ended = false
    const finish = (error?: unknown) => {
      ended = true
      end()
      controller.signal.removeEventListener('abort', onTimeUp)
      if (error !== undefined) reader.cancel(error).catch(() => {})
    }
    let out: ReadableStreamDefaultController<Uint8Array>
    const fail = (error: unknown) => {
      if (ended) return
      const reason = explain(error)
      finish(reason)
      out.error(reason)
    }
    const onTimeUp = () => fail(controller.signal.reason)

    return new ReadableStream<Uint8Array>(
      {
        start(created) {
          out = created
          controller.signal.addEventListener('abort', onTimeUp, { once: true })
          if (controller.signal.aborted) onTimeUp()
        },
        async pull() {
          try {
            const { done, value } = await reader.read()
            if (ended) return
            if (done) {
              finish()
              out.close()
              return
            }
            bytes += value.byteLength
            if (bytes > maxBytes) throw tooLarge()
            out.enqueue(value)
          } catch (error) {
            fail(error)
          }
        },
        cancel: (reason) => finish(reason ?? 'canceled'),
      },
      { highWaterMark: 0 },
    )
  }
}

const discard = (late: Response) => {
  late.body?.cancel().catch(() => {})
}
