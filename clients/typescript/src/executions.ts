import type { Automatos } from './automatos.ts'
import { ApiError } from './errors.ts'
import { readEventStream } from './event-stream.ts'
import type { Execution, ExecutionEvent, ExecutionStatus } from './generated/types.gen.ts'

/** `ExecutionEventOf<'step.failed'>` */
export type ExecutionEventOf<T extends ExecutionEvent['type']> = Extract<ExecutionEvent, { type: T }>

export interface FollowOptions {
  /** `seq` of the last event that is known; those behind it come. Default: from the beginning. */
  lastEventId?: number
  signal?: AbortSignal
  /** How often in a row to connect again without one new event, before the failure is thrown. Default 10. */
  reconnects?: number
  /** The first of the delays, which double up to ten seconds. Default 500. */
  reconnectDelayMs?: number
  /** Called before each wait for a new connection. */
  onReconnect?: (error: Error, delayMs: number) => void
}

const terminal: ReadonlySet<string> = new Set(['succeeded', 'failed', 'canceled', 'timed_out'])
const longestDelayMs = 10_000

export const hasEnded = (status: ExecutionStatus): boolean => terminal.has(status)

/** Whether this is the last event of its run. */
export const endsExecution = ({ type }: Pick<ExecutionEvent, 'type'>): boolean =>
  type.startsWith('execution.') && terminal.has(type.slice('execution.'.length))

/**
 * The events of an execution, each once and in order, until the one that ends it. A connection that breaks is taken up
 * again behind the last event, with a growing delay; one that cannot be made in the first place throws at once.
 * Throws the signal's reason where that aborts.
 */
export async function* followExecution(
  api: Automatos,
  execution: string,
  { lastEventId = 0, signal, reconnects = 10, reconnectDelayMs = 500, onReconnect }: FollowOptions = {},
): AsyncGenerator<ExecutionEvent, void, undefined> {
  let last = lastEventId
  let failures = 0
  let connected = false
  for (;;) {
    let failure: Error = new Error('The stream ended before the execution did.')
    try {
      const body = await openStream(api, execution, last, signal)
      connected = true
      if (!body) return
      for await (const message of readEventStream(body)) {
        if (message.event === 'error') throw new Error('The server broke off the stream.')
        const event = JSON.parse(message.data) as ExecutionEvent
        if (event.seq <= last) continue
        last = event.seq
        failures = 0
        yield event
        if (endsExecution(event)) return
      }
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      if (!connected || !isPassing(error)) throw error
      failure = error as Error
    }
    if (++failures > reconnects) throw failure
    const delayMs = reconnectDelay(failures, failure, reconnectDelayMs)
    onReconnect?.(failure, delayMs)
    await sleep(delayMs, signal)
  }
}

/** Waits for the end and gives the execution as it then is, whatever its status. */
export async function waitForExecution(
  api: Automatos,
  execution: string,
  options: Omit<FollowOptions, 'lastEventId'> = {},
): Promise<Execution> {
  const { signal } = options
  const get = async () => (await api.getExecution({ path: { execution }, ...(signal && { signal }) })).data
  const now = await get()
  if (hasEnded(now.status)) return now
  const events = followExecution(api, execution, options)
  for (let next = await events.next(); !next.done; next = await events.next());
  return get()
}

/** Null where the run has ended and all of its events are known. */
async function openStream(
  api: Automatos,
  execution: string,
  last: number,
  signal: AbortSignal | undefined,
): Promise<ReadableStream<Uint8Array> | null> {
  const { data, response } = await api.client.get<{ 200: ReadableStream<Uint8Array> }, unknown, true>({
    url: '/api/executions/{execution}/events',
    path: { execution },
    headers: { accept: 'text/event-stream', ...(last > 0 && { 'last-event-id': String(last) }) },
    parseAs: 'stream',
    throwOnError: true,
    ...(signal && { signal }),
  })
  return response.status === 204 ? null : data
}

/** Whether the same request may well succeed a little later. What a body that breaks throws differs by platform. */
function isPassing(error: unknown): boolean {
  if (error instanceof ApiError) return error.status === 429 || error.status >= 500
  return !(error instanceof SyntaxError)
}

function reconnectDelay(attempt: number, failure: Error, firstMs: number): number {
  const asked = failure instanceof ApiError ? (failure.retryAfterSeconds ?? 0) * 1_000 : 0
  const growing = Math.min(firstMs * 2 ** (attempt - 1), longestDelayMs)
  // Half of it by chance, so that all who were cut off by one restart do not come back at one instant.
  return Math.max(asked, growing / 2 + (Math.random() * growing) / 2)
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const onAbort = () => {
      clearTimeout(timer)
      reject(signal!.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
