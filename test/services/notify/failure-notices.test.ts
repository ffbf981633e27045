import { afterAll, describe, expect, test, vi } from 'vitest'
import { sql } from 'kysely'
import type { Egress } from '../../../src/context.ts'
import { validateDefinition } from '../../../src/services/recipes/validate.ts'
import { deliverNotices } from '../../../src/services/notify/failure-notices.ts'
import { recoverRuns } from '../../../src/services/runs/claim.ts'
import { retryRun } from '../../../src/services/executions.service.ts'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createEngineBench, http, recipe, type EngineBench } from '../../support/engine.ts'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database

interface Sent {
  url: string
  key: string | null
  body: unknown
}
async function bench(statuses: number[] = []): Promise<EngineBench & { sent: Sent[] }> {
  await database.shiftClock({ seconds: 0 })
  await db.deleteFrom('failure_notices').execute()
  const b = await createEngineBench(database)
  b.script('bad', () => {
    throw new StepError('upstream', 'down', { retryable: false })
  })
  const sent: Sent[] = []
  const egress: Egress = async (request) => {
    sent.push({ url: request.url, key: request.headers.get('idempotency-key'), body: await request.json() })
    return new Response(null, { status: statuses.shift() ?? 204 })
  }
  b.ctx.egress = egress
  return { ...b, sent }
}
const failing = (onFailure: object) =>
  recipe([http('good'), http('bad')], { name: 'Failing', settings: { on_failure: onFailure } })
async function work(b: EngineBench) {
  const worker = b.worker()
  await worker.claim()
  await worker.idle()
}
const hook = (more: object = {}) => ({ webhook: { url: 'https://notice.test/' }, ...more })
const stateOf = () => db.selectFrom('failure_notices').select(['delivery', 'attempts', 'error']).execute()

describe('a notice of a failure', () => {
  test('is sent once the run has ended, and holds up its end by nothing', async () => {
    const b = await bench()
    const id = await b.start(failing({ notify: [hook()] }))
    await work(b)
    expect(await b.run(id)).toMatchObject({ state: 'failed' })
    expect(b.sent).toEqual([])
    await deliverNotices(b.ctx)
    await deliverNotices(b.ctx)
    expect(b.sent).toMatchObject([
      {
        url: 'https://notice.test/',
        key: `${id}/1/~on_failure_failed/1.0`,
        body: {
          message: 'Failing: down',
          execution_id: id,
          data: { event: 'execution.failed', execution: { id, error: { kind: 'upstream', step: 'bad' } } },
        },
      },
    ])
    expect(await stateOf()).toMatchObject([{ delivery: 'sent', attempts: 1 }])
  })

  test('says what its templates say, of the error, the input and the steps, by any of the channels', async () => {
    const b = await bench()
    const notify = [
      hook({ message: '{{ error.step }} of {{ input.order }}', data: { $expr: 'steps.good.output.ok' } }),
      { log: 'warn', message: '{{ error.kind }}' },
      { webhook: { url: 'https://notice.test/{{ input.order }}' } },
    ]
    const lines: string[] = []
    b.ctx.log = { ...b.ctx.log, with: () => b.ctx.log, warn: (line: string) => void lines.push(line) }
    await b.start(failing({ notify }), { order: 7 })
    await work(b)
    await deliverNotices(b.ctx)
    expect(b.sent.map(({ url }) => url).toSorted()).toEqual(['https://notice.test/', 'https://notice.test/7'])
    expect(b.sent.find(({ url }) => url === 'https://notice.test/')?.body).toMatchObject({
      message: 'bad of 7',
      data: true,
    })
    expect(lines).toContain('upstream')
  })

  test('keeps the name of a secret of its address, never what stands for it: any process fills it in, and data names none', async () => {
    const b = await bench()
    const url = "https://notice.test/?t={{ secret('api.token') }}&o={{ input.order }}"
    const id = await b.start(failing({ notify: [hook({ webhook: { url } })] }), { order: "{{secret('b.c')}}" })
    await work(b)
    const stored = await db.selectFrom('failure_notices').selectAll().where('run_id', '=', id).execute()
    expect(JSON.stringify(stored)).not.toMatch(/secret_[0-9a-f]{32}/)
    // Modules loaded once more are those of another process: its placeholders are others.
    vi.resetModules()
    const other = await import('../../../src/services/notify/failure-notices.ts')
    const { replaceSecretPlaceholders } = await import('../../../src/lib/language/secrets.ts')
    await other.deliverNotices(b.ctx)
    expect(b.sent).toHaveLength(1)
    const filled = await replaceSecretPlaceholders(b.sent[0]!.url, (ref) => Promise.resolve(`<${ref}>`))
    expect(decodeURIComponent(filled)).toBe("https://notice.test/?t=<api.token>&o={{secret('b.c')}}")
  })

  test('whose address cannot be rendered, or cuts a secret, goes nowhere, and the run says so', async () => {
    const b = await bench()
    const cut =
      "https://notice.test/?t={% capture t %}{{ secret('api.token') }}{% endcapture %}{{ t | append: 'x' | slice: 0, 45 }}"
    const id = await b.start(failing({ notify: [hook({ webhook: { url: cut } }), hook()] }))
    await work(b)
    await deliverNotices(b.ctx)
    expect(b.sent.map(({ url }) => url)).toEqual(['https://notice.test/'])
    expect(JSON.stringify(await b.events(id))).toContain('log')
  })

  test('goes out in our own words where its template fails', async () => {
    const b = await bench()
    const id = await b.start(failing({ notify: [hook({ data: { $expr: 'input.absent.deeper + 1' } })] }))
    await work(b)
    await deliverNotices(b.ctx)
    expect(b.sent).toMatchObject([{ body: { message: 'Failing: down' } }])
    expect(JSON.stringify(await b.events(id))).toContain('log')
  })

  test('is sent by another process where the one that ended the run is gone, and by one alone', async () => {
    const b = await bench()
    await b.start(failing({ notify: [hook()] }))
    await work(b)
    await Promise.all([1, 2, 3].map(() => deliverNotices({ ...b.ctx })))
    expect(b.sent).toHaveLength(1)
  })

  test('whose sending was cut off is repeated under the same key, and one that was taken is not', async () => {
    const b = await bench()
    await b.start(failing({ notify: [hook()] }))
    await work(b)
    const { egress } = b.ctx
    let deliver = () => {}
    const hanging = new Promise<void>((resolve) => (deliver = resolve))
    const dying = deliverNotices({
      ...b.ctx,
      defer: () => {},
      egress: async (request, options) => {
        await egress(request, options)
        await hanging
        throw new Error('The process is gone.')
      },
    })
    await expect.poll(() => b.sent.length).toBe(1)
    await deliverNotices(b.ctx)
    expect(b.sent).toHaveLength(1)
    await database.shiftClock({ seconds: 61 })
    await deliverNotices({ ...b.ctx })
    expect(b.sent).toHaveLength(1 + 1)
    expect(new Set(b.sent.map(({ key }) => key)).size).toBe(1)
    // What the first process says when it comes back changes nothing.
    deliver()
    await dying
    await expect.poll(stateOf).toMatchObject([{ delivery: 'sent', attempts: 2 }])
  })

  test('is tried again while its receiver may recover, and given up where it refuses', async () => {
    const b = await bench([503, 204, 400])
    await b.start(failing({ notify: [hook()] }))
    await work(b)
    await deliverNotices(b.ctx)
    expect(await stateOf()).toMatchObject([{ delivery: 'pending', attempts: 1, error: 'The server answered 503.' }])
    await deliverNotices(b.ctx)
    expect(b.sent).toHaveLength(1)
    await database.shiftClock({ seconds: 30 })
    await deliverNotices(b.ctx)
    expect(await stateOf()).toMatchObject([{ delivery: 'sent', attempts: 2, error: null }])
    await b.start(failing({ notify: [hook()] }))
    await work(b)
    await deliverNotices(b.ctx)
    expect((await stateOf()).map(({ delivery }) => delivery).toSorted()).toEqual(['failed', 'sent'])
  })

  test('comes no sooner than its receiver asks for by Retry-After', async () => {
    const b = await bench()
    const headers = { 'retry-after': '3600' }
    b.ctx.egress = async () => new Response(null, { status: 429, headers })
    await b.start(failing({ notify: [hook()] }))
    await work(b)
    await deliverNotices(b.ctx)
    const { rows } = await sql<{ seconds: number }>`
      select extract(epoch from next_attempt_at - app_now())::float8 as seconds from failure_notices`.execute(db)
    expect(rows[0]!.seconds).toBeGreaterThan(3_000)
    expect(rows[0]!.seconds).toBeLessThanOrEqual(3_600)
  })

  test('is sent again for a generation of its own when a retry fails too', async () => {
    const b = await bench()
    const id = await b.start(failing({ notify: [hook()] }))
    await work(b)
    await retryRun(b.ctx, id)
    await work(b)
    await deliverNotices(b.ctx)
    expect(b.sent.map(({ key }) => key).toSorted()).toEqual(
      [1, 2].map((generation) => `${id}/${generation}/~on_failure_failed/1.0`),
    )
  })

  test('of an end that never came is sent by nobody, and goes when the run comes to another', async () => {
    const b = await bench()
    const id = await b.start(failing({ notify: [hook()] }))
    // As if the worker had gone behind the notice and before the end of the run.
    await work(b)
    await sql`update runs set state = 'running', finished_at = null, lease_owner = 'dying', lease_until = app_now() where id = ${id}`.execute(
      db,
    )
    await deliverNotices(b.ctx)
    expect(b.sent).toEqual([])
    await database.shiftClock({ seconds: 31 })
    await recoverRuns(db, 10)
    await sql`update runs set state = 'canceled', finished_at = app_now() where id = ${id}`.execute(db)
    await deliverNotices(b.ctx)
    expect(b.sent).toEqual([])
    expect(await stateOf()).toEqual([])
  })

  test('by on_failure.webhook has the body and the key that it always had', async () => {
    const b = await bench()
    const id = await b.start(failing({ webhook: { url: 'https://notice.test/' } }))
    await work(b)
    await deliverNotices(b.ctx)
    expect(b.sent).toMatchObject([
      {
        key: `${id}/1/~on_failure_failed/0.0`,
        body: { event: 'execution.failed', execution: { id, recipe: 'Failing', status: 'failed' } },
      },
    ])
  })

  test('that names no channel, two, or what it cannot see is a fault where it stands', () => {
    const faultsOf = (...notify: object[]) =>
      validateDefinition({ ...failing({ notify }), steps: [{ id: 'a', kind: 'transform', value: 1 }] }).faults
    expect(faultsOf({ log: 'info', message: '{{ error.detail }} {{ steps.a.output }} {{ input.x }}' })).toEqual([])
    const at = (index: number, field = '') => `/settings/on_failure/notify/${index}${field}`
    expect(
      faultsOf({ message: 'x' }, hook({ log: 'info' }), { log: 'info', message: '{{ steps.b.output }}' }).map(
        ({ pointer }) => pointer,
      ),
    ).toEqual([at(0), at(1), at(2, '/message')])
    expect(faultsOf({ webhook: { url: 'ftp://x' } })).toHaveLength(1)
  })
})
