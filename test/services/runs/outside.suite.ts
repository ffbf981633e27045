import type { CompiledQuery } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ServiceContext } from '../../../src/context.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import type { Json } from '../../../src/lib/json.ts'
import { decideApproval } from '../../../src/services/approvals/decide.ts'
import { getApproval, listApprovals } from '../../../src/services/approvals/read-approvals.ts'
import type { RecipeDefinition } from '../../../src/services/recipes/definition.ts'
import { insertVersion } from '../../../src/services/recipes/store.ts'
import { tellParents } from '../../../src/services/runs/child-ends.ts'
import { maxDescendants } from '../../../src/services/runs/child-run.ts'
import { cancelRunTree } from '../../../src/services/runs/children.ts'
import { recoverRuns, wakeDueRuns } from '../../../src/services/runs/claim.ts'
import { requestPause, requestResume } from '../../../src/services/runs/pause.ts'
import { requestRetry } from '../../../src/services/runs/retry.ts'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { sendEvent } from '../../../src/services/signals/send-event.ts'
import { createEngineBench, http, recipe, type EngineBench, type EngineDatabase } from '../../support/engine.ts'
import { FaultyLine, faultKinds, type FaultKind } from '../../support/faulty-database.ts'

const ended = ['succeeded', 'failed', 'canceled', 'timed_out']

/** What runs wait for that others bring: events, approvals, other runs. On any database and in any runtime. */
export function outsideSuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let db: EngineDatabase['db']
  beforeAll(async () => {
    database = await open()
    db = database.db
  })
  afterAll(() => database.close())
  const bench = () => createEngineBench(database)

  async function work(b: EngineBench) {
    const worker = b.worker()
    await worker.claim()
    await worker.idle()
  }
  async function later<T>(seconds: number, what: () => Promise<T>): Promise<T> {
    await database.shiftClock({ seconds })
    try {
      await wakeDueRuns(db, 50)
      return await what()
    } finally {
      await database.shiftClock({ seconds: 0 })
    }
  }
  async function invariants(runId: string) {
    const run = await db.selectFrom('runs').selectAll().where('id', '=', runId).executeTakeFirstOrThrow()
    const events = await db
      .selectFrom('run_events')
      .select(['seq', 'type'])
      .where('run_id', '=', runId)
      .orderBy('seq')
      .execute()
    expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1))
    expect(run.last_seq).toBe(events.length)
    if (run.state !== 'running') expect(run.lease_until).toBeNull()
    if (ended.includes(run.state)) {
      expect(run.pending_commands).toBe(0)
      expect(events.at(-1)!.type).toBe(`execution.${run.state}`)
      for (const table of ['run_queue', 'waits'] as const)
        expect(await db.selectFrom(table).selectAll().where('run_id', '=', runId).execute()).toEqual([])
    }
    return events.map((event) => event.type)
  }
  const wait = (id: string, rest: object = {}) => ({ id, kind: 'wait', event: 'order.paid', ...rest })
  const send = (b: EngineBench, payload: Json, execution?: string, name = 'order.paid') =>
    sendEvent(b.ctx, { name, payload, ...(execution === undefined ? {} : { execution }) })
  const pendingOf = async (ctx: ServiceContext, execution: string) =>
    (await listApprovals(ctx, { limit: 50, status: 'pending', execution })).items
  const decide = (b: EngineBench, id: string, decision: 'approved' | 'rejected', more: object = {}) =>
    decideApproval(b.ctx, id, { decision, ...more }, { kind: 'key', id: b.ctx.actor.id })

  async function store(ctx: ServiceContext, slug: string, ...versions: RecipeDefinition[]): Promise<string> {
    const id = uuidv7()
    await db
      .insertInto('workflow_recipes')
      .values({ id, workspace_id: ctx.actor.workspaceId, slug, name: slug, version: versions.length })
      .execute()
    for (const [index, definition] of versions.entries()) await insertVersion(db, ctx.actor, id, index + 1, definition)
    return id
  }
  const childrenOf = (id: string) =>
    db
      .selectFrom('runs')
      .select(['id', 'state', 'input', 'recipe_version', 'trigger'])
      .where('parent_run_id', '=', id)
      .orderBy('id')
      .execute()

  describe('a wait for an event', () => {
    test('parks without a lease, and ends with the payload of the event', async () => {
      const b = await bench()
      const id = await b.start(recipe([wait('paid'), http('after')]))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'waiting' })
      await invariants(id)
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'waiting', fence: 1 })
      expect(await send(b, { total: 5 })).toMatchObject({ delivered: 1 })
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect((await b.steps(id))['paid']).toMatchObject({ status: 'succeeded', output: { total: 5 } })
      await invariants(id)
    })

    test('takes an event that came first, of the workspace or of the run', async () => {
      const b = await bench()
      const id = await b.start(
        recipe([wait('one'), wait('two', { event: 'go' })], {
          output: { $expr: '[steps.one.output, steps.two.output]' },
        }),
      )
      expect(await send(b, 1)).toMatchObject({ delivered: 0 })
      await send(b, 2, id, 'go')
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: [1, 2] })
      await invariants(id)
    })

    test('does not take an event of another run, of another workspace, of before its run, or whose life is over', async () => {
      const b = await bench()
      const other = await bench()
      await send(b, 'before')
      const id = await b.start(recipe([wait('paid')]))
      const elsewhere = await b.start(recipe([wait('never', { event: 'x' })]))
      await send(b, 'other run', elsewhere)
      await send(other, 'other workspace')
      await sendEvent(b.ctx, { name: 'order.paid', payload: 'short', keep: '1s' })
      await later(2, () => work(b))
      expect(await b.run(id)).toMatchObject({ state: 'waiting' })
    })

    test('takes the event that its match describes, by an object or by an expression', async () => {
      const b = await bench()
      const byObject = await b.start(recipe([wait('paid', { match: { order: { id: '{{ input.id }}' } } })]), { id: 7 })
      const byExpression = await b.start(
        recipe([wait('paid', { match: { $expr: 'event.order.id == input.id && event.total > 10.0' } })]),
        { id: 8 },
      )
      await work(b)
      expect(await send(b, { order: { id: 9 }, total: 50 })).toMatchObject({ delivered: 0 })
      expect(await send(b, { order: { id: 8 }, total: 5 })).toMatchObject({ delivered: 0 })
      expect(await send(b, 'none of the expected form')).toMatchObject({ delivered: 0 })
      expect(await send(b, { order: { id: 7, lines: [1] }, total: 1 })).toMatchObject({ delivered: 1 })
      expect(await send(b, { order: { id: 8 }, total: 50 })).toMatchObject({ delivered: 1 })
      await work(b)
      expect((await b.run(byObject)).output).toEqual({ order: { id: 7, lines: [1] }, total: 1 })
      expect((await b.run(byExpression)).output).toEqual({ order: { id: 8 }, total: 50 })
    })

    test('takes a signal once: two waits want two', async () => {
      const b = await bench()
      const id = await b.start(
        recipe([
          {
            id: 'each',
            kind: 'foreach',
            items: [1, 2],
            as: 'item',
            concurrency: 2,
            steps: [wait('go', { event: 'go' })],
          },
        ]),
      )
      await work(b)
      expect(await send(b, 'first', id, 'go')).toMatchObject({ delivered: 1 })
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'waiting' })
      await send(b, 'second', id, 'go')
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: ['first', 'second'] })
      await invariants(id)
    })

    test('is given a kept event of the workspace once a run', async () => {
      const b = await bench()
      const id = await b.start(recipe([wait('one'), wait('two')]))
      await send(b, 'the only one')
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'waiting' })
      expect(await b.steps(id)).toMatchObject({ one: { status: 'succeeded' }, two: { status: 'waiting' } })
      await send(b, 'another')
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: 'another' })
    })

    test('whose event came and was not looked at before the run failed has it again when the run is retried', async () => {
      for (const isSignal of [true, false]) {
        const b = await bench()
        const event = `go-${isSignal}`
        const id = await b.start(
          recipe([
            {
              id: 'each',
              kind: 'foreach',
              items: [0, 1],
              as: 'item',
              concurrency: 2,
              steps: [wait('go', { event, when: 'item == 0' }), http('bad', { when: 'item == 1' })],
            },
          ]),
        )
        b.script('bad', async ({ count }) => {
          if (count > 1) return null
          const waits = db.selectFrom('event_waits').select('path').where('run_id', '=', id)
          await expect.poll(() => waits.execute()).toHaveLength(1)
          expect(await send(b, 'the payload', isSignal ? id : undefined, event)).toMatchObject({ delivered: 1 })
          throw new StepError('upstream', 'down', { retryable: false })
        })
        await work(b)
        expect(await b.run(id)).toMatchObject({ state: 'failed' })
        await db.transaction().execute((tx) => requestRetry(tx, id))
        await work(b)
        expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
        expect(await b.steps(id)).toMatchObject({ 'each/0/go': { status: 'succeeded', output: 'the payload' } })
        await invariants(id)
      }
    })

    test('that nobody ends in time fails as expired, and goes where on_timeout says', async () => {
      const b = await bench()
      const failing = await b.start(recipe([wait('paid', { timeout: '10m' })]))
      const going = await b.start(
        recipe([
          wait('paid', { timeout: '10m', on_timeout: { goto: 'late' } }),
          http('skipped'),
          { id: 'late', kind: 'transform', value: { $expr: 'steps.paid.error.kind' } },
        ]),
      )
      await work(b)
      await later(590, () => work(b))
      expect(await b.run(failing)).toMatchObject({ state: 'waiting' })
      await later(601, async () => {
        expect(await send(b, 'late')).toMatchObject({ delivered: 0 })
        await work(b)
      })
      expect(await b.run(failing)).toMatchObject({ state: 'failed', error: { kind: 'expired', step: 'paid' } })
      expect(await b.run(going)).toMatchObject({ state: 'succeeded', output: 'expired' })
      await invariants(failing)
    })

    test('in one of several branches does not hold up the others, nor is it held up by them', async () => {
      const b = await bench()
      const id = await b.start(
        recipe([
          {
            id: 'each',
            kind: 'foreach',
            items: ['a', 'b'],
            as: 'item',
            concurrency: 2,
            steps: [wait('go', { event: '{{ item }}', when: "item == 'a'" }), http('work')].map((step) =>
              step.kind === 'wait' ? { ...step, event: 'go' } : step,
            ),
          },
        ]),
      )
      // While an effect is under way the run keeps its lease; the command in its inbox wakes the sleeper.
      let worker = b.worker()
      b.script('work', async ({ count }) => {
        if (count > 1) return { count }
        await send(b, 'now', id, 'go')
        await worker.pollInbox()
        return { count }
      })
      worker = b.worker()
      await worker.claim()
      await worker.idle()
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(b.calls).toHaveLength(2)
      await invariants(id)
    })

    test('goes on waiting through a pause', async () => {
      const b = await bench()
      const id = await b.start(recipe([wait('paid')]))
      await work(b)
      await db.transaction().execute((tx) => requestPause(tx, id, null))
      expect(await send(b, 'while paused', id)).toMatchObject({ delivered: 1 })
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'paused' })
      await db.transaction().execute((tx) => requestResume(tx, id))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: 'while paused' })
      await invariants(id)
    })
  })

  describe('an approval', () => {
    const ok = (rest: object = {}) => ({ id: 'ok', kind: 'approval', message: 'Send {{ input.n }}?', ...rest })

    test('asks once, holds no lease while it waits, and gives what was decided', async () => {
      const b = await bench()
      const id = await b.start(
        recipe([ok({ payload: { subject: 'A' } }), http('send')], { output: { $expr: 'steps.ok.output' } }),
        {
          n: 3,
        },
      )
      await work(b)
      const [approval] = await pendingOf(b.ctx, id)
      expect(approval).toMatchObject({
        message: 'Send 3?',
        payload: { subject: 'A' },
        step_path: 'ok',
        status: 'pending',
      })
      // Eight hours and two restarts later.
      await later(8 * 3600, () => work(b))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'waiting', fence: 1 })
      expect(b.calls).toEqual([])
      await decide(b, approval!.id, 'approved', { comment: 'Fine.', payload: { subject: 'B' } })
      await work(b)
      expect(await b.run(id)).toMatchObject({
        state: 'succeeded',
        output: { decision: 'approved', comment: 'Fine.', payload: { subject: 'B' }, decided_by: { kind: 'key' } },
      })
      const types = await invariants(id)
      expect(types.filter((type) => type.startsWith('approval.'))).toEqual(['approval.requested', 'approval.decided'])
    })

    test('is decided once, however many try', async () => {
      const b = await bench()
      const id = await b.start(recipe([ok()]), { n: 1 })
      await work(b)
      const [approval] = await pendingOf(b.ctx, id)
      const attempts = await Promise.allSettled(
        Array.from({ length: 10 }, (_, n) =>
          decide(b, approval!.id, n % 2 ? 'approved' : 'rejected', { comment: `${n}` }),
        ),
      )
      const won = attempts.filter((attempt) => attempt.status === 'fulfilled')
      expect(won).toHaveLength(1)
      for (const attempt of attempts)
        if (attempt.status === 'rejected') expect(attempt.reason).toMatchObject({ kind: 'conflict' })
      await work(b)
      const { comment, status } = won[0]!.value
      expect(await b.run(id)).toMatchObject(
        status === 'approved'
          ? { state: 'succeeded', output: { comment } }
          : { state: 'failed', error: { kind: 'rejected', detail: `It was rejected: ${comment}` } },
      )
      expect((await invariants(id)).filter((type) => type === 'approval.decided')).toHaveLength(1)
    })

    test('that is rejected fails the step, and goes where on_reject says', async () => {
      const b = await bench()
      const failing = await b.start(recipe([ok(), http('send')]), { n: 1 })
      const going = await b.start(
        recipe([
          ok({ on_reject: 'continue' }),
          { id: 'end', kind: 'transform', value: { $expr: 'steps.ok.error.kind' } },
        ]),
        { n: 1 },
      )
      await work(b)
      for (const run of [failing, going]) await decide(b, (await pendingOf(b.ctx, run))[0]!.id, 'rejected')
      await work(b)
      expect(await b.run(failing)).toMatchObject({ state: 'failed', error: { kind: 'rejected', step: 'ok' } })
      expect(await b.run(going)).toMatchObject({ state: 'succeeded', output: 'rejected' })
      expect(b.calls).toEqual([])
    })

    test.each([
      ['fail', { state: 'failed', error: { kind: 'expired' } }],
      [
        'approve',
        { state: 'succeeded', output: { decision: 'approved', payload: 1, decided_by: { kind: 'timeout' } } },
      ],
      ['reject', { state: 'failed', error: { kind: 'rejected' } }],
      ['continue', { state: 'succeeded' }],
    ])('that nobody decides in time: %s', async (on_timeout, outcome) => {
      const b = await bench()
      const id = await b.start(recipe([ok({ timeout: '8h', on_timeout, payload: 1 })]), { n: 1 })
      await work(b)
      const [approval] = await pendingOf(b.ctx, id)
      await later(8 * 3600 + 1, async () => {
        expect(await getApproval(b.ctx, approval!.id)).toMatchObject({ status: 'expired' })
        await expect(decide(b, approval!.id, 'approved')).rejects.toMatchObject({ kind: 'conflict' })
        await work(b)
      })
      expect(await b.run(id)).toMatchObject(outcome)
      expect(await getApproval(b.ctx, approval!.id)).toMatchObject({ status: 'expired' })
      await invariants(id)
    })

    test('that was rejected is asked for again when the run is retried', async () => {
      const b = await bench()
      const id = await b.start(recipe([http('before'), ok({ payload: 1 })]), { n: 1 })
      await work(b)
      const [first] = await pendingOf(b.ctx, id)
      await decide(b, first!.id, 'rejected')
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed' })
      await db.transaction().execute((tx) => requestRetry(tx, id))
      await work(b)
      const [second] = await pendingOf(b.ctx, id)
      expect(second).toMatchObject({ status: 'pending', payload: 1 })
      expect(second!.id).not.toBe(first!.id)
      await expect(decide(b, first!.id, 'approved')).rejects.toMatchObject({ kind: 'conflict' })
      await decide(b, second!.id, 'approved')
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(b.calls).toHaveLength(1)
      await invariants(id)
    })

    test('of a run that was canceled is in no inbox and decided by nobody', async () => {
      const b = await bench()
      const id = await b.start(recipe([ok()]), { n: 1 })
      await work(b)
      const [approval] = await pendingOf(b.ctx, id)
      await db.transaction().execute((tx) => cancelRunTree(tx, id, 'enough'))
      expect(await pendingOf(b.ctx, id)).toEqual([])
      expect(await getApproval(b.ctx, approval!.id)).toMatchObject({ status: 'canceled' })
      await expect(decide(b, approval!.id, 'approved')).rejects.toMatchObject({ kind: 'conflict' })
      await invariants(id)
    })
  })

  describe('a child run', () => {
    const call = (rest: object = {}) => ({ id: 'call', kind: 'recipe', recipe: 'child', ...rest })

    test('gets its input, and its output is that of the step, while the parent holds no lease', async () => {
      const b = await bench()
      await store(
        b.ctx,
        'child',
        recipe([http('work'), { id: 'sum', kind: 'transform', value: { $expr: 'input.n + 1' } }]),
      )
      const id = await b.start(recipe([call({ input: { n: { $expr: 'input.n * 10' } } })]), { n: 4 })
      const worker = b.worker()
      await worker.claim()
      await worker.idle()
      expect(await b.run(id)).toMatchObject({ state: 'waiting' })
      expect(await childrenOf(id)).toMatchObject([
        { state: 'queued', input: { n: 40 }, trigger: { kind: 'recipe', execution_id: id } },
      ])
      await worker.claim()
      await worker.idle()
      await worker.claim()
      await worker.idle()
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: 41 })
      expect(b.calls).toHaveLength(1)
      await invariants(id)
    })

    test('runs the version that is named, else the latest', async () => {
      const b = await bench()
      const version = (n: number) => recipe([{ id: 'v', kind: 'transform', value: n }])
      await store(b.ctx, 'child', version(1), version(2), version(3))
      const pinned = await b.start(recipe([call({ version: 2 })]))
      const latest = await b.start(recipe([call()]))
      const missing = await b.start(recipe([call({ version: 9 })]))
      for (let turn = 0; turn < 3; turn++) await work(b)
      expect(await b.run(pinned)).toMatchObject({ output: 2 })
      expect(await b.run(latest)).toMatchObject({ output: 3 })
      expect(await b.run(missing)).toMatchObject({ state: 'failed', error: { kind: 'recipe_not_found' } })
    })

    test('that fails fails the step; a retry starts another', async () => {
      const b = await bench()
      b.script('work', ({ count }) => {
        if (count === 1) throw new StepError('upstream', 'down', { retryable: false })
        return { count }
      })
      await store(b.ctx, 'child', recipe([http('work')]))
      const id = await b.start(recipe([call({ retry: { max_attempts: 2, backoff: '1ms' } })]))
      for (let turn = 0; turn < 6; turn++) await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: { count: 2 } })
      expect((await childrenOf(id)).map((child) => child.state)).toEqual(
        expect.arrayContaining(['failed', 'succeeded']),
      )
      expect((await b.steps(id))['call']).toMatchObject({ attempts: 2 })
      await invariants(id)

      const without = await b.start(recipe([call()]))
      b.script('work', () => {
        throw new StepError('upstream', 'down', { retryable: false })
      })
      for (let turn = 0; turn < 3; turn++) await work(b)
      expect(await b.run(without)).toMatchObject({ state: 'failed', error: { kind: 'child_failed', step: 'call' } })
      // The next generation has a child of its own.
      b.script('work', () => 'at last')
      await db.transaction().execute((tx) => requestRetry(tx, without))
      for (let turn = 0; turn < 3; turn++) await work(b)
      expect(await b.run(without)).toMatchObject({ state: 'succeeded', output: 'at last' })
      expect(await childrenOf(without)).toHaveLength(2)
    })

    test('is not started with an input that does not fit', async () => {
      const b = await bench()
      const inputs = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'] }
      await store(b.ctx, 'child', recipe([http('work')], { inputs }))
      const id = await b.start(recipe([call({ input: { n: 'four' } })]))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'invalid_input' } })
      expect(await childrenOf(id)).toEqual([])
    })

    test('of another workspace is none', async () => {
      const [b, other] = [await bench(), await bench()]
      await store(other.ctx, 'child', recipe([http('work')]))
      const id = await b.start(recipe([call()]))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'recipe_not_found' } })
    })

    test('that starts itself ends at the depth limit', async () => {
      const b = await bench()
      await store(b.ctx, 'child', recipe([call()]))
      const id = await b.start(recipe([call()]))
      for (let turn = 0; turn < 15; turn++) await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'child_failed' } })
      const { count } = await db
        .selectFrom('runs')
        .select((s) => s.fn.countAll<number>().as('count'))
        .where('workspace_id', '=', b.ctx.actor.workspaceId)
        .executeTakeFirstOrThrow()
      expect(Number(count)).toBe(6)
    })

    test('is one of a family, which ends at its limit however its members start each other', async () => {
      const b = await bench()
      const each = { id: 'each', kind: 'foreach', items: [1, 2], as: 'n', concurrency: 2, steps: [call()] }
      await store(b.ctx, 'child', recipe([each]))
      const id = await b.start(recipe([call()]))
      // All but five have been started already.
      await db
        .insertInto('run_families')
        .values({ root_id: id, started: maxDescendants - 5 })
        .execute()
      for (let turn = 0; turn < 20; turn++) await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'child_failed' } })
      const family = await db
        .selectFrom('runs')
        .select(['state', 'error'])
        .where('workspace_id', '=', b.ctx.actor.workspaceId)
        .where('id', '!=', id)
        .execute()
      expect(family).toHaveLength(5)
      expect(family.map(({ error }) => error?.['kind'])).toContain('too_many_runs')
      expect(await db.selectFrom('run_families').select('started').where('root_id', '=', id).execute()).toEqual([
        { started: maxDescendants },
      ])
      await db.deleteFrom('runs').where('id', '=', id).execute()
      expect(await db.selectFrom('run_families').select('started').where('root_id', '=', id).execute()).toEqual([])
    })

    test('ends with its parent, and its parent goes on when it was canceled', async () => {
      const b = await bench()
      await store(b.ctx, 'child', recipe([{ id: 'pause', kind: 'wait', duration: '1h' }]))
      const canceled = await b.start(recipe([call()]))
      const going = await b.start(
        recipe([
          call({ on_error: 'continue' }),
          { id: 'end', kind: 'transform', value: { $expr: 'steps.call.error.kind' } },
        ]),
      )
      await work(b)
      await work(b)
      await db.transaction().execute((tx) => cancelRunTree(tx, canceled, 'enough'))
      expect(await b.run(canceled)).toMatchObject({ state: 'canceled' })
      expect(await childrenOf(canceled)).toMatchObject([{ state: 'canceled' }])
      const [child] = await childrenOf(going)
      await db.transaction().execute((tx) => cancelRunTree(tx, child!.id, 'enough'))
      // Nobody advanced it, so the note of its end is left to the tick.
      expect(await tellParents(b.ctx, { limit: 10 })).toBeGreaterThan(0)
      await work(b)
      expect(await b.run(going)).toMatchObject({ state: 'succeeded', output: 'child_canceled' })
      await invariants(going)
    })

    test('that takes longer than the step allows is canceled', async () => {
      const b = await bench()
      await store(b.ctx, 'child', recipe([wait('never')]))
      const id = await b.start(recipe([call({ timeout: '5m' })]))
      await work(b)
      await work(b)
      await later(301, async () => {
        await work(b)
        expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'timeout' } })
        await work(b)
      })
      expect(await childrenOf(id)).toMatchObject([{ state: 'canceled' }])
      await invariants(id)
    })

    test('that is given up is canceled, though the database refuses it at first', async () => {
      const b = await bench()
      await store(b.ctx, 'child', recipe([wait('never')]))
      const id = await b.start(recipe([call({ timeout: '5m', on_error: 'continue' }), http('after')]))
      await work(b)
      await work(b)
      const line = new FaultyLine(db, null)
      let asked = 0
      line.refuses = (query) => query.sql.includes('cancel_by_inbox') && ++asked === 1
      await later(301, async () => {
        const worker = b.worker('second', { db: line.db })
        await worker.claim()
        await worker.idle()
        expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
        await work(b)
      })
      expect(asked).toBe(2)
      expect(await childrenOf(id)).toMatchObject([{ state: 'canceled' }])
      await invariants(id)
    })
  })

  /**
   * What happens at a statement of the worker: somebody acts just before it (`act`), or it meets a fault. Another worker
   * brings the run to its end.
   */
  describe('whatever happens at any statement', () => {
    interface Story {
      definition: RecipeDefinition
      prepare?: (b: EngineBench) => Promise<void>
      /** Brings what the run waits for, where it does; harmless when called again. */
      act: (b: EngineBench, id: string) => Promise<void>
      outcome: object
      effects: number
    }
    const stories: Record<string, Story> = {
      'an event is given once': {
        definition: recipe([http('before'), wait('paid'), http('after')], { output: { $expr: 'steps.paid.output' } }),
        act: async (b, id) => {
          await sendEvent(b.ctx, { execution: id, name: 'order.paid', payload: 5, idempotencyKey: id }).catch(
            ignoreEnded,
          )
        },
        outcome: { state: 'succeeded', output: 5 },
        effects: 2,
      },
      'an approval is asked for once and decided once': {
        definition: recipe(
          [http('before'), { id: 'ok', kind: 'approval', message: 'Go?', payload: 1 }, http('after')],
          { output: { $expr: 'steps.ok.output.payload' } },
        ),
        act: async (b, id) => {
          for (const approval of await pendingOf(b.ctx, id)) await decide(b, approval.id, 'approved', { payload: 2 })
        },
        outcome: { state: 'succeeded', output: 2 },
        effects: 2,
      },
      'a child is started once and waited for': {
        definition: recipe([http('before'), { id: 'call', kind: 'recipe', recipe: 'child' }, http('after')], {
          output: { $expr: 'steps.call.output' },
        }),
        prepare: async (b) => {
          await store(b.ctx, 'child', recipe([http('work'), { id: 'seven', kind: 'transform', value: 7 }]))
        },
        act: async () => {},
        outcome: { state: 'succeeded', output: 7 },
        effects: 3,
      },
    }
    const ignoreEnded = (error: unknown) => {
      if ((error as { kind?: unknown }).kind !== 'conflict') throw error
    }

    async function finish(b: EngineBench, id: string, story: Story) {
      for (let turn = 1; turn <= 8 && !ended.includes((await b.run(id)).state); turn++) {
        await database.shiftClock({ seconds: 31 * turn })
        await recoverRuns(db, 50)
        await wakeDueRuns(db, 50)
        await tellParents(b.ctx, { limit: 50 })
        await story.act(b, id)
        await work(b)
      }
      await database.shiftClock({ seconds: 0 })
    }

    async function judge(b: EngineBench, id: string, story: Story, mostRepeats: number) {
      expect(await b.run(id)).toMatchObject(story.outcome)
      const types = await invariants(id)
      for (const type of ['approval.requested', 'approval.decided'])
        expect(types.filter((each) => each === type).length).toBeLessThanOrEqual(1)
      const keys = b.calls.map((each) => each.key)
      expect(new Set(keys).size).toBe(story.effects)
      expect(keys.length - story.effects, keys.join()).toBeLessThanOrEqual(mostRepeats)
      const children = await childrenOf(id)
      expect(children.length).toBe(story.prepare ? 1 : 0)
      for (const child of children) {
        expect(child.state).toBe('succeeded')
        await invariants(child.id)
      }
      expect(await tellParents(b.ctx, { limit: 50 })).toBe(0)
    }

    async function disturbed(story: Story, line: (b: EngineBench, id: () => string) => FaultyLine) {
      const b = await bench()
      await story.prepare?.(b)
      let id = ''
      const faulty = line(b, () => id)
      id = await b.start(story.definition)
      const worker = b.worker('first', { db: faulty.db })
      let cut = false
      void faulty.cut.then(() => (cut = true))
      for (let turn = 0; turn < 5 && !cut && !ended.includes((await b.run(id)).state); turn++) {
        const turned = (async () => {
          await worker.claim().catch(() => {})
          await worker.idle()
        })()
        await Promise.race([turned, faulty.cut])
      }
      await finish(b, id, story)
      return { b, id, statements: faulty.statements.length, struck: faulty.struck }
    }

    describe.each(Object.entries(stories))('%s', (_, story) => {
      test.each(faultKinds)('whichever is %s', { timeout: 180_000 }, async (kind: FaultKind) => {
        const mostRepeats = kind.startsWith('cut') ? 1 : 0
        for (let at = 1, statements = 1; at <= statements; at++) {
          const trial = await disturbed(story, () => new FaultyLine(db, { at, kind }))
          try {
            await judge(trial.b, trial.id, story, mostRepeats)
          } catch (error) {
            throw new Error(`Statement ${at} ${kind}: ${trial.struck?.slice(0, 200)}`, { cause: error })
          }
          if (trial.struck === null) break
          statements = at + 1
          expect(at).toBeLessThan(100)
        }
      })

      test('whenever somebody acts', { timeout: 180_000 }, async () => {
        for (let at = 1, statements = 1; at <= statements; at++) {
          const trial = await disturbed(story, (b, id) => actingLine(db, at, () => story.act(b, id())))
          try {
            await judge(trial.b, trial.id, story, 0)
          } catch (error) {
            throw new Error(`Before statement ${at}`, { cause: error })
          }
          statements = Math.max(statements, Math.min(trial.statements, 40))
        }
      })
    })
  })
}

/** A line that works; just before one of its statements somebody else does something. */
function actingLine(db: EngineDatabase['db'], at: number, act: () => Promise<void>): FaultyLine {
  const line = new FaultyLine(db, null)
  const execute = line.execute.bind(line)
  line.execute = async <R>(query: CompiledQuery) => {
    if (line.statements.length + 1 === at) await act()
    return execute<R>(query)
  }
  return line
}
