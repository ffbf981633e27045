export interface ServerEvent {
  id: string
  event: string
  data: string
}

/** Reads a body of server-sent events, each with one line of data as this API sends them; comments are passed over. */
export async function* readServerEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true })
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const event: ServerEvent = { id: '', event: '', data: '' }
      for (const line of text.slice(0, end).split('\n')) {
        const colon = line.indexOf(':')
        const field = line.slice(0, colon)
        if (field === 'id' || field === 'event' || field === 'data') event[field] = line.slice(colon + 1).trimStart()
      }
      text = text.slice(end + 2)
      if (event.data !== '') yield event
    }
  }
}
