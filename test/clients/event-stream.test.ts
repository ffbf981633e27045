import { expect, test } from 'vitest'
import { readEventStream, type ServerSentEvent } from '../../clients/typescript/src/index.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

function bodyOf(chunks: Uint8Array[], onCancel?: () => void): ReadableStream<Uint8Array> {
  const left = [...chunks]
  return new ReadableStream({
    pull(controller) {
      const chunk = left.shift()
      if (chunk) controller.enqueue(chunk)
      else if (!onCancel) controller.close()
    },
    ...(onCancel && { cancel: onCancel }),
  })
}

async function eventsOf(...chunks: Uint8Array[]): Promise<ServerSentEvent[]> {
  const events = []
  for await (const event of readEventStream(bodyOf(chunks))) events.push(event)
  return events
}

const sample = [
  ': connected\n\n',
  'id: 7\nevent: step.started\ndata: {"a":1}\n\n',
  ': alive\n\n',
  'data:first\ndata: second\ndata\ndata:  spaced: twice\n\n',
  'event: nothing\n\n',
  'retry: 2500\nretry: soon\nid: 8\nid: no\0id\nunknown: x\ndata: grüße 🎈\n\n',
  'data: never ended\n',
].join('')
const sampleEvents = [
  { id: '7', event: 'step.started', data: '{"a":1}', retryMs: undefined },
  { id: '7', event: 'message', data: 'first\nsecond\n\n spaced: twice', retryMs: undefined },
  { id: '8', event: 'message', data: 'grüße 🎈', retryMs: 2500 },
]

test('events are read as the standard has it: comments, many lines of data, ids that stay, a retry time', async () => {
  expect(await eventsOf(bytes(sample))).toEqual(sampleEvents)
})

test.each(['\r\n', '\r', '\n'])('lines may end in %j, and chunks anywhere', async (newline) => {
  const all = bytes(sample.replaceAll('\n', newline))
  for (let cut = 1; cut < all.length; cut++) {
    expect(await eventsOf(all.subarray(0, cut), all.subarray(cut))).toEqual(sampleEvents)
  }
  expect(await eventsOf(...[...all].map((byte) => Uint8Array.of(byte)))).toEqual(sampleEvents)
})

test('a byte order mark is no part of the first field, and an empty chunk ends nothing', async () => {
  const events = await eventsOf(Uint8Array.of(0xef, 0xbb, 0xbf), bytes('data: a\r'), bytes(''), bytes('\n\r\n'))
  expect(events.map(({ data }) => data)).toEqual(['a'])
})

test('leaving the loop closes the connection', async () => {
  const canceled = new Promise<void>((resolve) => {
    void (async () => {
      for await (const event of readEventStream(bodyOf([bytes('data: one\n\ndata: two\n\n')], resolve))) {
        expect(event.data).toBe('one')
        break
      }
    })()
  })
  await canceled
})
