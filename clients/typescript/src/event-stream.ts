export interface ServerSentEvent {
  /** Id of this event or of the last one that had any; empty where there was none. */
  id: string
  /** `message` where the stream names none. */
  event: string
  data: string
  /** How many milliseconds to wait before connecting again, where the stream has said so. */
  retryMs: number | undefined
}

/** Reads a body of server-sent events as the HTML standard has it. Leaving the loop closes the connection. */
export async function* readEventStream(
  body: ReadableStream<Uint8Array>,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const reader = body.getReader()
  // The decoder drops a byte order mark and joins characters that two chunks share.
  const decoder = new TextDecoder()
  const parser = new EventStreamParser()
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      yield* parser.push(decoder.decode(value, { stream: true }))
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

class EventStreamParser {
  /** Pieces of the line that has not ended yet: a long one is joined once, not at every chunk. */
  #open: string[] = []
  #afterCarriageReturn = false
  #data: string[] = []
  #event = ''
  #id = ''
  #retryMs: number | undefined;

  *push(text: string): Generator<ServerSentEvent, void, undefined> {
    let start = 0
    // A line feed at the head belongs to the carriage return that ended the chunk before.
    if (this.#afterCarriageReturn && text !== '') {
      this.#afterCarriageReturn = false
      if (text[0] === '\n') start = 1
    }
    const ends = /\r\n|\r|\n/g
    ends.lastIndex = start
    for (let end = ends.exec(text); end; end = ends.exec(text)) {
      this.#open.push(text.slice(start, end.index))
      start = ends.lastIndex
      if (end[0] === '\r' && start === text.length) this.#afterCarriageReturn = true
      const line = this.#open.join('')
      this.#open = []
      const event = this.#line(line)
      if (event) yield event
    }
    if (start < text.length) this.#open.push(text.slice(start))
  }

  /** An event where the line is the blank one that ends it. */
  #line(line: string): ServerSentEvent | undefined {
    if (line === '') return this.#dispatch()
    // A comment is a line with a field of no name, which none of those below has.
    const colon = line.indexOf(':')
    const field = colon < 0 ? line : line.slice(0, colon)
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (field === 'data') this.#data.push(value)
    else if (field === 'event') this.#event = value
    else if (field === 'id' && !value.includes('\0')) this.#id = value
    else if (field === 'retry' && /^\d+$/.test(value)) this.#retryMs = Number(value)
    return undefined
  }

  #dispatch(): ServerSentEvent | undefined {
    const [data, event] = [this.#data, this.#event]
    this.#data = []
    this.#event = ''
    if (data.length === 0) return undefined
    return { id: this.#id, event: event || 'message', data: data.join('\n'), retryMs: this.#retryMs }
  }
}
