import { expect, test } from 'vitest'
import type { Egress } from '../../../src/context.ts'
import { EgressError } from '../../../src/lib/egress-error.ts'
import { post } from '../../../src/services/outbox/post.ts'
import { createTestLog } from '../../support/log.ts'

const clock = { now: () => new Date('2033-01-01T00:00:00Z'), monotonicMs: () => 0 }
async function posted(egress: Egress, write = () => new Request('https://receiver.test/', { method: 'POST' })) {
  const log = createTestLog()
  const answer = await post({ egress, clock, log }, write, { workspaceId: 'w' }, { delivery_id: 'd' })
  return { answer, lines: log.lines }
}

test('any 2xx is taking it; anything else is not, with the time that the receiver asks for', async () => {
  const answering = (status: number, headers = {}) => posted(async () => new Response(null, { status, headers }))
  expect((await answering(202)).answer).toMatchObject({ isTaken: true, status: 202, failure: null })
  expect((await answering(307)).answer).toMatchObject({ isTaken: false, status: 307, failure: null })
  expect((await answering(503, { 'retry-after': '90' })).answer).toMatchObject({ status: 503, retryAfterMs: 90_000 })
})

test('what is said of an answer is not read', async () => {
  let isCanceled = false
  const body = new ReadableStream({ cancel: () => void (isCanceled = true) })
  await posted(async () => new Response(body, { status: 200 }))
  expect(isCanceled).toBe(true)
})

test('why there was no answer is told in the words of the egress guard, of our own errors nothing but that', async () => {
  const refused = await posted(() => Promise.reject(new EgressError('egress-refused', 'receiver.test is private.')))
  expect(refused.answer).toEqual({
    isTaken: false,
    status: null,
    failure: 'receiver.test is private.',
    retryAfterMs: null,
  })
  expect(refused.lines).toEqual([])
  const error = new Error('password=secret')
  for (const broken of [
    await posted(() => Promise.reject(error)),
    await posted(
      async () => new Response(),
      () => {
        throw error
      },
    ),
  ]) {
    expect(broken.answer).toMatchObject({ isTaken: false, status: null, failure: 'The message could not be sent.' })
    expect(broken.lines).toMatchObject([{ level: 'error', fields: { delivery_id: 'd', error } }])
  }
})
