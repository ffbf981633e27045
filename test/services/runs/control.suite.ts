import { sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decideApproval } from '../../../src/services/approvals.service.ts'
import { cancelChildren, cancelOrphans, cancelRunTree } from '../../../src/services/runs/children.ts'
import { recoverRuns, wakeDueRuns } from '../../../src/services/runs/claim.ts'
import { insertRuns } from '../../../src/services/runs/create-run.ts'
import { requestPause, requestResume } from '../../../src/services/runs/pause.ts'
import { replayRun } from '../../../src/services/runs/replay-run.ts'
import { requestRetry } from '../../../src/services/runs/retry.ts'
import { inboxService } from '../../../src/services/runs/services.ts'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import type { JsonObject } from '../../../src/lib/json.ts'
import { createEngineBench, gate, http, recipe, type EngineBench, type EngineDatabase } from '../../support/engine.ts'

/** What an operator's commands promise, wherever the run is and whoever holds it. */
export function controlSuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let db: EngineDatabase['db']
  beforeAll(async () => {
    database = await open()
    db = database.db
  })
  afterAll(() => database.close())

  const bench = () => createEngineBench(database)
  const pause = (id: string) => db.transaction().execute((tx) => requestPause(tx, id, 'a look at it'))
  const resume = (id: string) => db.transaction().execute((tx) => requestResume(tx, id))
  const cancel = (id: string) => db.transaction().execute((tx) => cancelRunTree(tx, id, 'enough'))
  const retry = (id: string) => db.transaction().execute((tx) => requestRetry(tx, id))
  const later = async (seconds: number, work: () => Promise<void>) => {
    await database.shiftClock({ seconds })
    try {
      await work()
    } finally {
      await database.shiftClock({ seconds: 0 })
    }
  }
  async function work(b: EngineBench): Promise<void> {
    const worker = b.worker()
    await worker.claim()
    await worker.idle()
  }
  const down = () => {
    throw new StepError('upstream', 'down', { retryable: false })
  }

  /** What must hold of a run whatever was done to it. */
  async function invariants(runId: string) {
    const run = await db.selectFrom('runs').selectAll().where('id', '=', runId).executeTakeFirstOrThrow()
    const events = await db.selectFrom('run_events').select('seq').where('run_id', '=', runId).orderBy('seq').execute()
    expect(events.map((event) => event.seq)).toEqual(events.map((_, index) => index + 1))
    expect(run.last_seq).toBe(events.length)
    const queued = await db.selectFrom('run_queue').selectAll().where('run_id', '=', runId).execute()
    const waits = await db.selectFrom('waits').selectAll().where('run_id', '=', runId).execute()
    if (run.state === 'queued') expect(queued).toHaveLength(1)
    else if (run.state === 'waiting') expect(queued.length + waits.length).toBeGreaterThan(0)
    else expect([queued, waits]).toEqual([[], []])
    if (run.state !== 'running') expect([run.lease_until, run.lease_owner]).toEqual([null, null])
    const open = await db
      .selectFrom('run_inbox')
      .select('id')
      .where('run_id', '=', runId)
      .where('applied_at', 'is', null)
      .execute()
    expect(run.pending_commands).toBe(open.length)
  }
  const types = async (b: EngineBench, id: string) => (await b.events(id)).map(({ type }) => type)

  describe('a pause', () => {
    test('of a queued run takes it out of the queue until it is resumed', async () => {
      const b = await bench()
      const id = await b.start(recipe([http('only')]))
      expect(await pause(id)).toBe('applied')
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'paused' })
      expect(b.calls).toEqual([])
      await invariants(id)
      expect(await pause(id)).toBe('already-so')
      expect(await resume(id)).toBe('applied')
      await invariants(id)
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(await resume(id)).toBe('refused')
      expect(await pause(id)).toBe('refused')
      await invariants(id)
    })

    test('of a running run lets the step under way finish, and begins no other', async () => {
      const b = await bench()
      const reached = gate()
      const answered = gate()
      let aborted = false
      b.script('slow', async ({ context }) => {
        context.signal.addEventListener('abort', () => (aborted = true))
        reached.open()
        await answered.opened
        return { done: true }
      })
      const id = await b.start(recipe([http('slow'), http('next')]))
      const worker = b.worker()
      await worker.claim()
      await reached.opened
      expect(await pause(id)).toBe('left-for-owner')
      expect(await pause(id)).toBe('already-so')
      await worker.pollInbox()
      expect(await b.run(id)).toMatchObject({ state: 'running' })
      answered.open()
      await worker.idle()
      expect(aborted).toBe(false)
      expect(await b.run(id)).toMatchObject({ state: 'paused' })
      expect(await b.steps(id)).toMatchObject({ slow: { status: 'succeeded', output: { done: true } } })
      expect(Object.keys(await b.steps(id))).toEqual(['slow'])
      expect((await types(b, id)).at(-1)).toBe('execution.paused')
      await invariants(id)

      expect(await resume(id)).toBe('applied')
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(b.calls.map(({ step }) => step)).toEqual(['slow', 'next'])
      await invariants(id)
    })

    test('waits for every item in work, and the resumed run makes no call twice', async () => {
      const b = await bench()
      const reached = gate()
      const go = gate()
      b.script('call', async ({ count }) => {
        if (count === 2) reached.open()
        await go.opened
        return { count }
      })
      const each = {
        id: 'each',
        kind: 'foreach',
        items: [1, 2, 3, 4, 5],
        as: 'n',
        concurrency: 2,
        steps: [http('call')],
      }
      const id = await b.start(recipe([each]))
      const worker = b.worker()
      await worker.claim()
      await reached.opened
      await pause(id)
      await worker.pollInbox()
      go.open()
      await worker.idle()
      expect(await b.run(id)).toMatchObject({ state: 'paused' })
      expect(b.calls).toHaveLength(2)
      await resume(id)
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(new Set(b.calls.map(({ key }) => key)).size).toBe(5)
      expect(b.calls).toHaveLength(5)
      await invariants(id)
    })

    test('keeps the time that a wait is due: early it waits on, late it goes on at once', async () => {
      const b = await bench()
      const [early, late] = await Promise.all(
        [0, 1].map(() => b.start(recipe([{ id: 'wait', kind: 'wait', duration: '1h' }, http('after')]))),
      )
      await work(b)
      const due = async (id: string) =>
        (await db.selectFrom('run_steps').select('wake_at').where('run_id', '=', id).executeTakeFirstOrThrow()).wake_at!
      const before = await due(early!)
      for (const id of [early!, late!]) expect(await pause(id)).toBe('applied')
      // No row of a wait either: nothing that is paused asks a worker to come back for it.
      for (const id of [early!, late!]) await invariants(id)
      await later(1800, async () => {
        await resume(early!)
        await work(b)
        expect(await b.run(early!)).toMatchObject({ state: 'waiting' })
        expect(await due(early!)).toEqual(before)
      })
      await later(3700, async () => {
        await wakeDueRuns(db, 500)
        expect(await b.run(late!)).toMatchObject({ state: 'paused' })
        await resume(late!)
        await work(b)
        for (const id of [early!, late!]) expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      })
      for (const id of [early!, late!]) await invariants(id)
    })

    test('outlives the worker that was to carry it out', async () => {
      const b = await bench()
      const reached = gate()
      b.script('stuck', ({ count }) => {
        if (count > 1) return { ok: true }
        reached.open()
        return new Promise(() => {})
      })
      const id = await b.start(recipe([http('stuck'), http('next')]))
      const dying = b.worker('dying')
      await dying.claim()
      await reached.opened
      expect(await pause(id)).toBe('left-for-owner')
      await dying.pollInbox()
      await later(31, async () => {
        await recoverRuns(db, 500)
        await work(b)
        expect(await b.run(id)).toMatchObject({ state: 'paused' })
        await invariants(id)
        await resume(id)
        await work(b)
      })
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      await invariants(id)
    })

    test('that is withdrawn before it takes effect changes nothing', async () => {
      const b = await bench()
      const reached = gate()
      const answered = gate()
      b.script('slow', async () => {
        reached.open()
        await answered.opened
        return { ok: true }
      })
      const id = await b.start(recipe([http('slow'), http('next')]))
      const worker = b.worker()
      await worker.claim()
      await reached.opened
      await pause(id)
      await worker.pollInbox()
      expect(await resume(id)).toBe('left-for-owner')
      await worker.pollInbox()
      answered.open()
      await worker.idle()
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(await types(b, id)).not.toContain('execution.paused')
      await invariants(id)
    })

    test('and a resume that meet a run about to park leave it where it is, with nothing done twice', async () => {
      const b = await bench()
      const reached = gate()
      const answered = gate()
      b.script('before', async () => {
        reached.open()
        await answered.opened
        return { ok: true }
      })
      const id = await b.start(recipe([http('before'), { id: 'wait', kind: 'wait', duration: '1h' }]))
      const worker = b.worker()
      await worker.claim()
      await reached.opened
      await pause(id)
      await resume(id)
      // Nobody has told the owner: it finds the commands when its checkpoint is not let go.
      answered.open()
      await worker.idle()
      expect(await b.run(id)).toMatchObject({ state: 'waiting' })
      expect(b.calls).toHaveLength(1)
      expect(await b.steps(id)).toMatchObject({ before: { status: 'succeeded' }, wait: { status: 'waiting' } })
      await invariants(id)
    })

    test('does not keep a run from being canceled', async () => {
      const b = await bench()
      const id = await b.start(recipe([{ id: 'wait', kind: 'wait', duration: '1h' }]))
      await work(b)
      await pause(id)
      expect(await cancel(id)).toMatchObject({ outcome: 'applied', ended: [id] })
      expect(await b.run(id)).toMatchObject({ state: 'canceled' })
      expect(await b.steps(id)).toMatchObject({ wait: { status: 'canceled' } })
      await invariants(id)
    })
  })

  describe('a cancellation', () => {
    test('reaches a run that another process holds with the next look into the inbox, which is at most a second away', async () => {
      const b = await bench()
      const reached = gate()
      let aborted = false
      b.script('slow', ({ context }) => {
        context.signal.addEventListener('abort', () => (aborted = true))
        reached.open()
        return new Promise(() => {})
      })
      const id = await b.start(recipe([http('slow')]))
      // A worker of its own with its own connection: nothing but the rows tells it.
      const elsewhere = b.worker('elsewhere')
      await elsewhere.claim()
      await reached.opened
      expect(await cancel(id)).toMatchObject({ outcome: 'left-for-owner', commanded: [id] })
      expect(await cancel(id)).toMatchObject({ outcome: 'left-for-owner' })
      expect(await elsewhere.pollInbox()).toBe(1)
      expect(aborted).toBe(true)
      await elsewhere.idle()
      expect(await b.run(id)).toMatchObject({ state: 'canceled' })
      expect(inboxService).toMatchObject({ periodMs: 1_000, wakeOn: ['command'] })
      await invariants(id)
    })

    test('is not lost where the run is just being handed back', async () => {
      const b = await bench()
      const reached = gate()
      b.script('slow', ({ context }) => {
        reached.open()
        return new Promise((_, reject) => context.signal.addEventListener('abort', () => reject(new Error('cut off'))))
      })
      const id = await b.start(recipe([http('slow')]))
      const worker = b.worker()
      await worker.claim()
      await reached.opened
      await cancel(id)
      await worker.drain(0)
      expect(await b.run(id)).toMatchObject({ state: 'canceled' })
      await invariants(id)
    })

    /** A child as a step would start it. */
    async function childOf(b: EngineBench, parent: string, steps: unknown[]): Promise<string> {
      const id = uuidv7()
      await insertRuns(db, [
        {
          id,
          workspaceId: b.ctx.actor.workspaceId,
          recipeId: null,
          recipeVersion: null,
          definition: recipe(steps) as unknown as JsonObject,
          trigger: { kind: 'recipe', execution_id: parent },
          input: {},
          parentRunId: parent,
        },
      ])
      return id
    }

    test('takes the runs along that its steps have started, at any depth and in any state', async () => {
      const b = await bench()
      const reached = gate()
      b.script('slow', () => {
        reached.open()
        return new Promise(() => {})
      })
      const hour = { id: 'wait', kind: 'wait', duration: '1h' }
      const parent = await b.start(recipe([hour]))
      const child = await childOf(b, parent, [hour])
      const leased = await childOf(b, parent, [http('slow')])
      const grandchild = await childOf(b, child, [hour])
      const worker = b.worker()
      await worker.claim()
      await reached.opened
      await expect.poll(() => worker.inFlight).toBe(1)
      const done = await cancel(parent)
      expect(done.outcome).toBe('applied')
      expect(done.ended.toSorted()).toEqual([parent, child, grandchild].toSorted())
      expect(done.commanded).toEqual([leased])
      await worker.pollInbox()
      await worker.idle()
      for (const id of [parent, child, leased, grandchild]) {
        expect(await b.run(id)).toMatchObject({ state: 'canceled' })
        await invariants(id)
      }
    })

    test('a run with many children ends at once, and they a bounded number at a time', async () => {
      const b = await bench()
      const hour = { id: 'wait', kind: 'wait', duration: '1h' }
      const parent = await b.start(recipe([hour]))
      const children: string[] = []
      for (let n = 0; n < 120; n++) children.push(await childOf(b, parent, [hour]))
      const grandchild = await childOf(b, children[119]!, [hour])
      const done = await cancel(parent)
      expect(done.ended).toHaveLength(101)
      expect(await b.run(parent)).toMatchObject({ state: 'canceled' })
      expect(await cancelOrphans(b.ctx, 10)).toBe(10)
      while ((await cancelOrphans(b.ctx, 10)) > 0);
      for (const id of [...children, grandchild]) expect(await b.run(id)).toMatchObject({ state: 'canceled' })
      await invariants(grandchild)
    })

    test('a run that fails leaves no child behind; where it died before it could, the recovery finds them', async () => {
      const b = await bench()
      b.script('bad', down)
      const parent = await b.start(recipe([http('bad')]))
      const child = await childOf(b, parent, [{ id: 'wait', kind: 'wait', duration: '1h' }])
      await work(b)
      expect(await b.run(parent)).toMatchObject({ state: 'failed' })
      expect(await b.run(child)).toMatchObject({ state: 'canceled' })

      const orphan = await childOf(b, parent, [{ id: 'wait', kind: 'wait', duration: '1h' }])
      expect(await cancelOrphans(b.ctx, 10)).toBe(1)
      expect(await b.run(orphan)).toMatchObject({ state: 'canceled' })
      expect(await cancelOrphans(b.ctx, 10)).toBe(0)
      await invariants(orphan)
    })

    test('a retry leaves no child of the generation before, and its own are not taken for such', async () => {
      const b = await bench()
      const hour = { id: 'wait', kind: 'wait', duration: '1h' }
      b.script('bad', down)
      const parent = await b.start(recipe([http('bad')]))
      await work(b)
      // Its owner died before it could cancel this one.
      const before = await childOf(b, parent, [hour])
      expect(await retry(parent)).toMatchObject({ kind: 'retried', below: { ended: [before], commanded: [] } })
      expect(await b.run(before)).toMatchObject({ state: 'canceled' })
      const since = await childOf(b, parent, [hour])
      // Its owner was held up behind the failure, and only now gets to its children.
      await cancelChildren(b.ctx, parent, 'The run that started it has failed.')
      expect(await b.run(since)).toMatchObject({ state: 'queued' })
      await invariants(before)
    })

    test('is the end of the log, though a call that it cut off tells its usage after it', async () => {
      const b = await bench()
      const reached = gate()
      b.script('slow', ({ context }) => {
        reached.open()
        return new Promise((_, reject) => {
          context.signal.addEventListener('abort', () => void tellUsage())
          async function tellUsage() {
            // The run has noted its end by now, and not written it yet.
            for (let turn = 0; turn < 100; turn++) await Promise.resolve()
            const nothing = { cached_input_tokens: null, reasoning_tokens: null, price: null, latency_ms: null }
            const counts = { input_tokens: 7, output_tokens: 3, cost_usd: '0.5', error: null, simulated: true }
            context.usage({ provider: 'p', model: 'm', status: 'canceled', ...counts, ...nothing }, null)
            reject(context.signal.reason as Error)
          }
        })
      })
      const id = await b.start(recipe([http('slow')]))
      const worker = b.worker()
      await worker.claim()
      await reached.opened
      await cancel(id)
      await worker.pollInbox()
      await worker.idle()
      expect((await types(b, id)).slice(-2)).toEqual(['usage', 'execution.canceled'])
      const { usage } = await db.selectFrom('runs').select('usage').where('id', '=', id).executeTakeFirstOrThrow()
      expect(usage).toMatchObject({ model_calls: 1, input_tokens: 7, cost_usd: '0.5' })
      expect(await db.selectFrom('model_usage').select('status').where('run_id', '=', id).execute()).toEqual([
        { status: 'canceled' },
      ])
      await invariants(id)
    })

    test('outlives an owner that has read it and dies before it obeys', async () => {
      const b = await bench()
      const putting = gate()
      const stored = gate()
      const blobs = b.ctx.blobs
      let puts = 0
      b.ctx.blobs = {
        ...blobs,
        async put(key, bytes, options) {
          if (++puts === 1) {
            putting.open()
            await stored.opened
          }
          await blobs.put(key, bytes, options)
        },
      }
      // A value that is stored apart: the owner is in the middle of that when the command comes.
      b.script('large', () => 'x'.repeat(300_000))
      const id = await b.start(recipe([http('large'), http('next')]))
      const first = b.worker('first')
      await first.claim()
      await putting.opened
      expect((await cancel(id)).outcome).toBe('left-for-owner')
      await first.pollInbox()
      // What it had to write meanwhile is written; then it stands still for longer than its lease.
      await expect.poll(() => types(b, id)).toContain('step.started')
      await later(31, async () => {
        await recoverRuns(db, 50)
        await first.renew()
        await work(b)
      })
      stored.open()
      await first.idle()
      expect(await b.run(id)).toMatchObject({ state: 'canceled', error: { kind: 'canceled', detail: 'enough' } })
      expect(b.calls.map(({ step }) => step)).toEqual(['large'])
      await invariants(id)
    })
  })

  describe('a retry', () => {
    test('goes on from the step that failed, with keys of its own, and keeps what succeeded', async () => {
      const b = await bench()
      b.script('bad', ({ count }) => (count === 1 ? down() : { fixed: true }))
      const id = await b.start(recipe([http('good'), http('bad'), http('after')]))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { step: 'bad' } })
      expect(await retry(id)).toEqual({ kind: 'retried', generation: 2, below: { ended: [], commanded: [] } })
      expect(await b.run(id)).toMatchObject({ state: 'queued', error: null })
      await invariants(id)
      expect(await retry(id)).toEqual({ kind: 'refused', state: 'queued' })
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', error: null })
      expect(b.calls.map(({ key }) => key)).toEqual([
        `${id}/1/good/0.0`,
        `${id}/1/bad/0.0`,
        `${id}/2/bad/0.0`,
        `${id}/2/after/0.0`,
      ])
      expect(await b.steps(id)).toMatchObject({ bad: { status: 'succeeded', attempts: 1, error: null } })
      await invariants(id)
    })

    test('keeps the items that succeeded, and failures that the recipe has dealt with', async () => {
      const b = await bench()
      b.script('soft', down)
      b.script('call', ({ context, count }) => {
        const n = context.render({ $expr: 'n' }) as number
        return n === 2 && count <= 2 ? down() : { n }
      })
      const id = await b.start(
        recipe([
          http('soft', { on_error: 'continue' }),
          {
            id: 'route',
            kind: 'branch',
            cases: [
              {
                when: 'steps.soft.status == "failed"',
                steps: [
                  { id: 'each', kind: 'foreach', items: [1, 2, 3], as: 'n', concurrency: 1, steps: [http('call')] },
                ],
              },
            ],
          },
        ]),
      )
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { step: 'route' } })
      await retry(id)
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: [{ n: 1 }, { n: 2 }, { n: 3 }] })
      expect(b.calls.map(({ key }) => key.slice(id.length + 1))).toEqual([
        '1/soft/0.0',
        '1/route/0/each/0/call/0.0',
        '1/route/0/each/1/call/0.0',
        '2/route/0/each/1/call/0.0',
        '2/route/0/each/2/call/0.0',
      ])
      await invariants(id)
    })

    test('of a run that ran out of time has its whole time again', async () => {
      const b = await bench()
      const id = await b.start(
        recipe([http('first'), { id: 'wait', kind: 'wait', duration: '2h' }], { settings: { timeout: '1h' } }),
      )
      await work(b)
      await later(3700, async () => {
        await wakeDueRuns(db, 500)
        await work(b)
        expect(await b.run(id)).toMatchObject({ state: 'timed_out' })
        expect(await retry(id)).toMatchObject({ kind: 'retried' })
        await work(b)
        expect(await b.run(id)).toMatchObject({ state: 'waiting' })
        const { rows } = await sql<{ left: number }>`
          select extract(epoch from deadline_at - app_now())::integer as left from runs where id = ${id}`.execute(db)
        expect(rows[0]!.left).toBeGreaterThan(3500)
      })
      expect(b.calls).toHaveLength(1)
      await invariants(id)
    })

    test('does once more what has jumped too often, in a branch and in an item as at the top', async () => {
      const b = await bench()
      b.script('x', ({ count }) => (count <= 101 ? down() : { ok: true }))
      const list = [http('x', { on_error: { goto: 'x' } })]
      const route = { id: 'route', kind: 'branch', cases: [{ when: 'true', steps: list }] }
      const id = await b.start(recipe([{ id: 'each', kind: 'foreach', items: [1], as: 'n', steps: [route] }]))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'goto_limit' } })
      await retry(id)
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(b.calls).toHaveLength(102)
      await invariants(id)
    })

    test('is not for what was canceled or succeeded, nor for one step of another run', async () => {
      const b = await bench()
      b.script('bad', down)
      const [done, canceled, parent] = [
        await b.start(recipe([http('ok')])),
        await b.start(recipe([{ id: 'wait', kind: 'wait', duration: '1h' }])),
        await b.start(recipe([http('bad')])),
      ]
      await work(b)
      await cancel(canceled)
      expect(await retry(done)).toEqual({ kind: 'refused', state: 'succeeded' })
      expect(await retry(canceled)).toEqual({ kind: 'refused', state: 'canceled' })
      const child = await b.start(recipe([http('bad')]))
      await db.updateTable('runs').set({ parent_run_id: parent }).where('id', '=', child).execute()
      await work(b)
      expect(await retry(child)).toEqual({ kind: 'child', parent })
    })
  })

  describe('with what steps wait for', () => {
    test('a paused approval is decided meanwhile, and the resumed run finds the decision', async () => {
      const b = await bench()
      const id = await b.start(recipe([{ id: 'ok', kind: 'approval', message: 'Go on?' }, http('after')]))
      await work(b)
      expect(await pause(id)).toBe('applied')
      const { id: approval } = await db
        .selectFrom('approvals')
        .select('id')
        .where('run_id', '=', id)
        .executeTakeFirstOrThrow()
      await decideApproval(b.ctx, approval, { decision: 'approved' }, { kind: 'key', id: b.ctx.actor.id, name: null })
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'paused' })
      await resume(id)
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(b.calls).toHaveLength(1)
      await invariants(id)
    })

    test('a retry asks once more for what was rejected, and leaves a rejection that was dealt with', async () => {
      const b = await bench()
      b.script('bad', ({ count }) => (count === 1 ? down() : { ok: true }))
      const ask = (step: string, rest: object = {}) => ({ id: step, kind: 'approval', message: 'Go on?', ...rest })
      const id = await b.start(recipe([ask('soft', { on_reject: 'continue' }), http('bad'), ask('hard')]))
      const decide = async (decision: 'approved' | 'rejected') => {
        await work(b)
        const { id: approval } = await db
          .selectFrom('approvals')
          .select('id')
          .where('run_id', '=', id)
          .where('state', '=', 'pending')
          .executeTakeFirstOrThrow()
        await decideApproval(b.ctx, approval, { decision }, { kind: 'key', id: b.ctx.actor.id, name: null })
        await work(b)
      }
      await decide('rejected')
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { step: 'bad' } })
      await retry(id)
      await decide('rejected')
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'rejected', step: 'hard' } })
      await retry(id)
      await decide('approved')
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(await b.steps(id)).toMatchObject({ soft: { status: 'failed' }, hard: { status: 'succeeded' } })
      await invariants(id)
    })
  })

  describe('a replay', () => {
    const replay = (b: EngineBench, runId: string, rest: object = {}) => replayRun(b.ctx, { runId, ...rest })

    test('from a step has the earlier results and makes their calls no more', async () => {
      const b = await bench()
      b.script('first', ({ count }) => ({ n: count }))
      const id = await b.start(
        recipe([
          http('first'),
          { id: 'twice', kind: 'transform', value: { $expr: 'steps.first.output.n * 2' } },
          http('last'),
        ]),
      )
      await work(b)
      const again = await replay(b, id, { from: 'twice' })
      expect(again).toMatchObject({ status: 'queued' })
      await invariants(again.id)
      await work(b)
      expect(await b.run(again.id)).toMatchObject({ state: 'succeeded' })
      expect(await b.steps(again.id)).toMatchObject({ first: { output: { n: 1 } }, twice: { output: 2 } })
      expect(b.calls.map(({ key }) => key)).toEqual([`${id}/1/first/0.0`, `${id}/1/last/0.0`, `${again.id}/1/last/0.0`])
      const row = await db
        .selectFrom('runs')
        .select(['replay_of', 'replayed_from', 'trigger'])
        .where('id', '=', again.id)
        .executeTakeFirstOrThrow()
      expect(row).toEqual({
        replay_of: id,
        replayed_from: 'twice',
        trigger: { kind: 'replay', execution_id: id, from_step: 'twice' },
      })
      await invariants(again.id)

      const whole = await replay(b, id)
      await work(b)
      expect(b.calls.filter(({ key }) => key.startsWith(whole.id)).map(({ step }) => step)).toEqual(['first', 'last'])
      expect(await b.steps(whole.id)).toMatchObject({ first: { output: { n: 2 } }, twice: { output: 4 } })
    })

    test('from within an item does that item from there, and keeps the others', async () => {
      const b = await bench()
      const id = await b.start(
        recipe([
          { id: 'each', kind: 'foreach', items: [1, 2, 3], as: 'n', steps: [http('a'), http('b')] },
          http('after'),
        ]),
      )
      await work(b)
      const again = await replay(b, id, { from: 'each/1/b' })
      await work(b)
      expect(await b.run(again.id)).toMatchObject({ state: 'succeeded' })
      expect(b.calls.map(({ key }) => key).filter((key) => key.startsWith(again.id))).toEqual([
        `${again.id}/1/each/1/b/0.0`,
        `${again.id}/1/after/0.0`,
      ])
    })

    test('takes values that are kept apart along, so that the first run can go', async () => {
      const b = await bench()
      const large = 'x'.repeat(300_000)
      b.script('large', () => ({ large }))
      const id = await b.start(
        recipe([
          http('large'),
          { id: 'each', kind: 'foreach', items: { $expr: '[1]' }, as: 'n', steps: [http('call')] },
        ]),
      )
      await work(b)
      const again = await replay(b, id, { from: 'each' })
      const handle = (await b.steps(again.id))['large']!.output as { $blob: string }
      expect(handle.$blob).toContain(`/${again.id}/`)
      const bytes = await b.ctx.blobs.get(handle.$blob)
      expect(JSON.parse(new TextDecoder().decode(bytes!))).toEqual({ large })
    })

    test('is refused for a run that is under way, a step that it did not come to and a run of somebody else', async () => {
      const b = await bench()
      const id = await b.start(recipe([{ id: 'wait', kind: 'wait', duration: '1h' }, http('never')]))
      await work(b)
      await expect(replay(b, id)).rejects.toMatchObject({ kind: 'conflict' })
      await cancel(id)
      await expect(replay(b, id, { from: 'never' })).rejects.toMatchObject({
        kind: 'invalid',
        errors: [{ pointer: '/from_step' }],
      })
      await expect(replay(b, id, { version: 2 })).rejects.toMatchObject({
        kind: 'invalid',
        errors: [{ pointer: '/recipe_version' }],
      })
      await expect(replay(await bench(), id)).rejects.toMatchObject({ kind: 'not-found' })
    })
  })
}
