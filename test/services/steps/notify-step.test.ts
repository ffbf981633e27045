import { afterAll, describe, expect, test } from 'vitest'
import type { Egress, Log, SendMail, ServiceContext } from '../../../src/context.ts'
import { createMemoryLimiter } from '../../../src/runtime/memory-limiter.ts'
import type { NotifyStep } from '../../../src/services/recipes/definition.ts'
import { notifyStep } from '../../../src/services/steps/notify.step.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext, type ServiceContextOptions } from '../../support/service-context.ts'
import { createStepContext } from '../../support/step-context.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const step = (rest: Partial<NotifyStep>): NotifyStep => ({
  kind: 'notify',
  id: 'tell',
  message: 'Hello {{ name }}',
  ...rest,
})
const scope = { name: 'Ada', n: 3 }

interface Sent {
  url: string
  headers: Headers
  body: unknown
  credential: string | undefined
}
function receiver(status = 204): { egress: Egress; sent: Sent[] } {
  const sent: Sent[] = []
  const egress: Egress = async (request, options) => {
    sent.push({
      url: request.url,
      headers: request.headers,
      body: await request.json(),
      credential: options?.credential,
    })
    return new Response(null, { status })
  }
  return { egress, sent }
}
const contextWith = async (options: ServiceContextOptions, more: Partial<ServiceContext> = {}) =>
  createStepContext({ ...(await createServiceContext(database, options)), ...more }, { scope })

describe('a notify step', () => {
  test('writes a line to the log of the server', async () => {
    const lines: unknown[] = []
    const log = { warn: (message: string, fields?: object) => void lines.push([message, fields]) } as unknown as Log
    const fake = await contextWith({}, { log })
    await notifyStep(step({ log: 'warn', data: { count: { $expr: 'n' } } }), fake.context)
    expect(lines).toEqual([['Hello Ada', { step: 'tell', data: { count: 3 } }]])
  })

  test('posts to a webhook with a credential and an Idempotency-Key', async () => {
    const { egress, sent } = receiver()
    const fake = await contextWith({ egress })
    const webhook = { url: 'https://hooks.example/{{ n }}', auth: { credential: 'team-hook' } }
    expect(await notifyStep(step({ webhook, data: { n: { $expr: 'n' } } }), fake.context)).toEqual({
      channel: 'webhook',
      status: 204,
    })
    expect(sent).toMatchObject([
      {
        url: 'https://hooks.example/3',
        credential: 'team-hook',
        body: { message: 'Hello Ada', data: { n: 3 }, execution_id: fake.context.runId, step: 'tell' },
      },
    ])
    expect(sent[0]!.headers.get('idempotency-key')).toBe(fake.effects[0]!.idempotencyKey)
  })

  test('fails with the status of a webhook that refuses', async () => {
    const fake = await contextWith({ egress: receiver(503).egress })
    await expect(notifyStep(step({ webhook: { url: 'https://hooks.example/' } }), fake.context)).rejects.toMatchObject({
      kind: 'http-status',
      status: 503,
      retryable: true,
    })
  })

  const email = { to: ['kim@example.org', '{{ name }}@example.org'], subject: 'To {{ name }}\r\nBcc: x@example.org' }

  test('sends e-mail through the API of the configuration', async () => {
    const { egress, sent } = receiver(200)
    const env = {
      EMAIL_FROM: 'Automatos <bot@example.org>',
      EMAIL_API_URL: 'https://mail.example/emails',
      EMAIL_API_KEY: 're_secret',
    }
    const fake = await contextWith({ egress, env })
    expect(await notifyStep(step({ email }), fake.context)).toEqual({
      channel: 'email',
      to: ['kim@example.org', 'Ada@example.org'],
    })
    expect(sent[0]).toMatchObject({
      url: 'https://mail.example/emails',
      body: {
        from: 'Automatos <bot@example.org>',
        to: ['kim@example.org', 'Ada@example.org'],
        // No line of its own: nothing in a subject becomes a header.
        subject: 'To Ada Bcc: x@example.org',
        text: 'Hello Ada',
      },
    })
    expect(sent[0]!.headers.get('authorization')).toBe('Bearer re_secret')
    expect(sent[0]!.headers.get('idempotency-key')).toBe(fake.effects[0]!.idempotencyKey)
  })

  test('sends e-mail through the mail server where there is one, and tells what it said', async () => {
    const mails: unknown[] = []
    const smtp: SendMail = async (mail) => void mails.push(mail)
    const env = { EMAIL_FROM: 'bot@example.org' }
    const fake = await contextWith({ env }, { smtp })
    await notifyStep(step({ email }), fake.context)
    expect(mails).toMatchObject([{ from: 'bot@example.org', text: 'Hello Ada', idempotencyKey: 'run/1/step/0.0' }])
    const refusing =
      (code: number): SendMail =>
      async () => {
        throw Object.assign(new Error('no'), { code })
      }
    for (const [code, retryable] of [
      [550, false],
      [451, true],
    ] as const) {
      const refused = await contextWith({ env }, { smtp: refusing(code) })
      await expect(notifyStep(step({ email }), refused.context)).rejects.toMatchObject({
        kind: 'email_failed',
        retryable,
      })
    }
  })

  test('says what to configure where nothing sends e-mail, on Workers without SMTP', async () => {
    const fake = await contextWith({})
    await expect(notifyStep(step({ email }), fake.context)).rejects.toMatchObject({ kind: 'email_not_configured' })
    const onWorkers = await contextWith({ env: { EMAIL_FROM: 'bot@example.org' } }, { platform: 'workers' })
    await expect(notifyStep(step({ email }), onWorkers.context)).rejects.toThrow(/There is no SMTP on Workers/)
    expect(onWorkers.effects).toEqual([])
  })

  test('sends to nothing that is no address', async () => {
    const fake = await contextWith({ env: { EMAIL_FROM: 'bot@example.org' } }, { smtp: async () => {} })
    const wrong = step({ email: { to: ['{{ name }}'], subject: 'Hi' } })
    await expect(notifyStep(wrong, fake.context)).rejects.toMatchObject({ kind: 'email_invalid', retryable: false })
  })

  const env = { EMAIL_FROM: 'bot@example.org' }
  const mailingTo = (...to: string[]) => step({ email: { to, subject: 'Hi' } })

  test('sends to so many recipients of a workspace, counted in all its runs, and to all of a message or none', async () => {
    const mails: unknown[] = []
    const smtp: SendMail = async (mail) => void mails.push(mail)
    const limiter = createMemoryLimiter({ monotonicMs: () => 0 })
    const limits = { ...env, EMAIL_RECIPIENT_LIMIT: '3/hour' }
    const fake = await contextWith({ env: limits }, { smtp, limiter })
    const again = createStepContext(fake.context.ctx, { scope })
    const others = await contextWith({ env: limits }, { smtp, limiter })
    await notifyStep(mailingTo('a@example.org', 'b@example.org'), fake.context)
    await expect(notifyStep(mailingTo('c@example.org', 'd@example.org'), again.context)).rejects.toMatchObject({
      kind: 'email_limited',
      retryable: true,
      retryAfterMs: expect.any(Number),
    })
    expect(mails).toHaveLength(1)
    await notifyStep(mailingTo('c@example.org'), createStepContext(fake.context.ctx, { scope }).context)
    await notifyStep(mailingTo('a@example.org', 'b@example.org'), others.context)
    expect(mails).toHaveLength(3)
    const many = mailingTo(...Array.from({ length: 4 }, (_, n) => `${n}@example.org`))
    await expect(notifyStep(many, again.context)).rejects.toMatchObject({ kind: 'email_limited', retryable: false })
  })

  test('sends to the domains that the operator allows', async () => {
    const mails: unknown[] = []
    const smtp: SendMail = async (mail) => void mails.push(mail)
    const allowed = { ...env, EMAIL_RECIPIENT_DOMAINS: 'Example.org, example.com' }
    const fake = await contextWith({ env: allowed }, { smtp })
    for (const to of ['kim@evil.example', 'kim@sub.example.org', 'kim@notexample.org'])
      await expect(notifyStep(mailingTo('kim@example.org', to), fake.context)).rejects.toMatchObject({
        kind: 'email_recipient_refused',
        retryable: false,
      })
    expect(fake.effects).toEqual([])
    await notifyStep(mailingTo('kim@EXAMPLE.org', 'ada@example.com'), fake.context)
    expect(mails).toHaveLength(1)
  })
})
