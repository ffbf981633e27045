import { expect, test } from 'vitest'
import { eventStream, type ServerEvent } from '../../src/lib/event-stream.ts'

test('a client that stalls and leaves lets the generator end where it stands', async () => {
  let ended = () => {}
  const end = new Promise<void>((resolve) => (ended = resolve))
  async function* events(): AsyncGenerator<ServerEvent> {
    try {
      for (let n = 1; ; n++) yield { id: String(n), event: 'tick', data: n }
    } finally {
      ended()
    }
  }
  const reader = eventStream(
    events(),
    () => {},
    () => {},
  ).getReader()
  await reader.read()
  await reader.read()
  await reader.cancel()
  await expect(end).resolves.toBeUndefined()
})

test('a client that leaves while the generator waits is told to it', async () => {
  const gone = new AbortController()
  let waits = () => {}
  const waiting = new Promise<void>((resolve) => (waits = resolve))
  let ended = () => {}
  const end = new Promise<void>((resolve) => (ended = resolve))
  async function* events(): AsyncGenerator<ServerEvent> {
    yield { event: 'first', data: 1 }
    waits()
    await new Promise<void>((resolve) => gone.signal.addEventListener('abort', () => resolve()))
    ended()
  }
  const reader = eventStream(
    events(),
    () => gone.abort(),
    () => {},
  ).getReader()
  await reader.read()
  await reader.read()
  await waiting
  await reader.cancel()
  await expect(end).resolves.toBeUndefined()
})
