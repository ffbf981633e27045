import { z } from '@hono/zod-openapi'
import type { ServiceContext } from '../context.ts'
import { eventStream, type ServerEvent } from '../lib/event-stream.ts'
import type { Reply, ResponseSpec } from '../lib/operation.ts'

/** How a client says what it has: `Last-Event-ID`, or `last_event_id` where it cannot send headers at first. */
export const lastEventId = <S extends z.ZodType>(eventId: S, example: z.input<S>) => ({
  query: z.object({
    last_event_id: eventId.openapi({
      description: 'For an `EventSource` that takes up where an earlier one was; `Last-Event-ID` wins.',
      example,
    }),
  }),
  headers: z.object({
    'last-event-id': eventId.openapi({ description: 'Id of the last event that the client has.', example }),
  }),
})

/** The answer of a stream: what its events are in JSON, a component of this name, and one as it is sent. */
export const eventsOf = (
  description: string,
  event: { name: string; schema: z.ZodType },
  example: string,
): ResponseSpec => ({ description, contentType: 'text/event-stream', schema: z.string(), event, example })

interface Stream<E> {
  /** Its events until the signal. Null: there is nothing behind what the client has, and never will be. */
  follow(until: AbortSignal): Promise<AsyncIterable<E> | null>
  /** Null: an event that nobody takes up behind. */
  idOf(event: E): string | null
  /** What the log names it by. */
  about: object
}

/**
 * Answers with events, each as it happens, until there are no more or the client leaves. 204 where it has them all, at
 * which an `EventSource` stops connecting again.
 */
export async function answerEvents<E extends { type: string }>(
  { log }: Pick<ServiceContext, 'log'>,
  signal: AbortSignal,
  stream: Stream<E>,
): Promise<Reply> {
  const gone = new AbortController()
  const events = await stream.follow(AbortSignal.any([signal, gone.signal]))
  if (!events) return { status: 204, headers: { 'cache-control': 'no-store' } }
  return {
    status: 200,
    contentType: 'text/event-stream',
    headers: { 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
    body: eventStream(
      serverEvents(events, stream),
      () => gone.abort(),
      (error) => log.error('An event stream broke off.', { error, ...stream.about }),
    ),
  }
}

async function* serverEvents<E extends { type: string }>(
  events: AsyncIterable<E>,
  { idOf }: Stream<E>,
): AsyncGenerator<ServerEvent> {
  for await (const event of events) {
    const id = idOf(event)
    yield { ...(id !== null && { id }), event: event.type, data: event }
  }
}
