/** How often a quiet stream says that it lives: proxies cut what is silent for longer. */
const commentEveryMs = 15_000

export interface ServerEvent {
  id?: string
  event: string
  data: unknown
}

/**
 * Server-sent events from a generator. Ends with it; when the client leaves, `leave` is called so that the generator
 * can end. A failure in mid-stream becomes a last event `error`.
 */
export function eventStream(
  events: AsyncIterable<ServerEvent>,
  leave: () => void,
  onFailure: (error: unknown) => void,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let timer: ReturnType<typeof setInterval> | undefined
  let left = false
  const iterator = events[Symbol.asyncIterator]()
  return new ReadableStream<Uint8Array>({
    start(controller) {
      // Headers and this first line go out at once, so a client knows that it is connected.
      controller.enqueue(encoder.encode(': connected\n\n'))
      timer = setInterval(() => {
        if (!left) controller.enqueue(encoder.encode(': alive\n\n'))
      }, commentEveryMs)
    },
    async pull(controller) {
      try {
        const next = await iterator.next()
        if (left) return
        if (next.done) {
          clearInterval(timer)
          left = true
          controller.close()
          return
        }
        controller.enqueue(encoder.encode(format(next.value)))
      } catch (error) {
        clearInterval(timer)
        onFailure(error)
        if (left) return
        left = true
        controller.enqueue(encoder.encode(format({ event: 'error', data: { detail: 'The stream broke off.' } })))
        controller.close()
      }
    },
    cancel() {
      left = true
      clearInterval(timer)
      leave()
      // A reader that stalled left the generator standing at an event; nobody would ask it for another, nor let it end.
      void iterator.return?.().catch(() => {})
    },
  })
}

const format = ({ id, event, data }: ServerEvent): string =>
  `${id === undefined ? '' : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`
