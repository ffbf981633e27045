import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { recoverRuns, wakeDueRuns } from '../../../src/services/runs/claim.ts'
import { cancelRunTree } from '../../../src/services/runs/children.ts'
import { requestPause, requestResume } from '../../../src/services/runs/pause.ts'
import { replayRun } from '../../../src/services/runs/replay-run.ts'
import { requestRetry } from '../../../src/services/runs/retry.ts'
import { StepError } from '../../../src/services/runs/step-executor.ts'
import { createEngineBench, gate, http, recipe, type EngineBench, type EngineDatabase } from '../../support/engine.ts'

const transform = (id: string, value: unknown, rest: object = {}) => ({ id, kind: 'transform', value, ...rest })
const expr = (source: string) => ({ $expr: source })
const diamond = (rest: object = {}) =>
  recipe(
    [
      http('top'),
      http('left', { needs: ['top'] }),
      http('right', { needs: ['top'] }),
      transform('join', expr('[steps.left.output.step, steps.right.output.step]'), { needs: ['left', 'right'] }),
    ],
    rest,
  )

/** What lists whose steps say what they need promise, on any database. */
export function graphSuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let db: EngineDatabase['db']
  beforeAll(async () => {
    database = await open()
    db = database.db
  })
  afterAll(() => database.close())

  /** Every step tells which it is. */
  async function bench(): Promise<EngineBench> {
    const b = await createEngineBench(database)
    for (const id of ['top', 'left', 'right', 'a', 'b', 'c', 'd', 'e']) b.script(id, () => ({ step: id }))
    return b
  }
  async function work(b: EngineBench): Promise<void> {
    const worker = b.worker()
    await worker.claim()
    await worker.idle()
  }
  const later = async (seconds: number, what: () => Promise<void>) => {
    await database.shiftClock({ seconds })
    try {
      await what()
    } finally {
      await database.shiftClock({ seconds: 0 })
    }
  }
  const down = () => {
    throw new StepError('upstream', 'down', { retryable: false })
  }
  const madeBy = (b: EngineBench) => b.calls.map(({ step }) => step)
  const statuses = async (b: EngineBench, id: string) =>
    Object.fromEntries(Object.entries(await b.steps(id)).map(([path, { status }]) => [path, status]))

  /** Scripts that answer once all of them have been asked: they can only end if they run side by side. */
  function together(b: EngineBench, ids: string[]): void {
    let missing = ids.length
    const all = gate()
    for (const id of ids)
      b.script(id, async () => {
        if (--missing === 0) all.open()
        await all.opened
        return { step: id }
      })
  }

  describe('steps that say what they need', () => {
    test('run side by side, and a join sees what all of them gave', async () => {
      const b = await bench()
      together(b, ['left', 'right'])
      const id = await b.start(diamond())
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: ['left', 'right'] })
      expect(madeBy(b)).toEqual(['top', 'left', 'right'])
    })

    test('start at once where they need nothing, whatever stands before them in the document', async () => {
      const b = await bench()
      together(b, ['a', 'c'])
      const id = await b.start(
        recipe([http('a'), http('b'), http('c', { needs: [] }), http('d', { needs: ['b', 'c'] })]),
      )
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: { step: 'd' } })
      expect(madeBy(b)).toEqual(['a', 'c', 'b', 'd'])
    })

    test('may need steps that stand behind them', async () => {
      const b = await bench()
      const id = await b.start(recipe([http('c', { needs: ['b'] }), http('a', { needs: [] }), http('b')]))
      await work(b)
      expect(madeBy(b)).toEqual(['a', 'b', 'c'])
      // The output is that of the last step of the document.
      expect((await b.run(id)).output).toEqual({ step: 'b' })
    })

    test('see nothing of a step that runs beside them, though it has ended', async () => {
      const b = await bench()
      const id = await b.start(
        recipe([
          http('a'),
          http('b', { needs: [] }),
          { id: 'hold', kind: 'wait', duration: '1ms', needs: ['b'] },
          transform('late', expr('steps.a.status'), { needs: ['hold'] }),
        ]),
      )
      await work(b)
      expect((await b.run(id)).output).toBe('pending')
    })

    test('go on behind what was skipped, and behind what failed and may', async () => {
      const b = await bench()
      b.script('b', down)
      const id = await b.start(
        recipe([
          http('a', { when: 'false' }),
          http('b', { needs: [], on_error: 'continue' }),
          transform('join', expr('[steps.a.status, steps.b.error.kind]'), { needs: ['a', 'b'] }),
        ]),
      )
      await work(b)
      expect((await b.run(id)).output).toEqual(['skipped', 'upstream'])
    })

    test('show the steps of their branches to those that need them alone', async () => {
      const b = await bench()
      const fork = (id: string, inner: string, rest: object) => ({
        id,
        kind: 'branch',
        cases: [{ when: 'true', steps: [http(inner)] }],
        ...rest,
      })
      const id = await b.start(
        recipe(
          [
            fork('one', 'a', { needs: [] }),
            fork('two', 'b', { needs: [] }),
            transform('sees', expr('[steps.a.status, steps.b.status]'), { needs: ['one'] }),
          ],
          { output: expr('[steps.sees.output, steps.a.status, steps.b.status]') },
        ),
      )
      await work(b)
      expect((await b.run(id)).output).toEqual([['succeeded', 'pending'], 'succeeded', 'succeeded'])
    })

    test('make a graph of each item of a foreach and of each case of a branch', async () => {
      const b = await bench()
      const inner = (rest: unknown[] = []) => [http('a'), http('b', { needs: [] }), ...rest]
      const id = await b.start(
        recipe([
          {
            id: 'each',
            kind: 'foreach',
            items: [1, 2],
            as: 'n',
            steps: inner([
              transform('sum', expr('[n, steps.a.output.step, steps.b.output.step]'), { needs: ['a', 'b'] }),
            ]),
          },
        ]),
      )
      await work(b)
      expect((await b.run(id)).output).toEqual([
        [1, 'a', 'b'],
        [2, 'a', 'b'],
      ])
    })
  })

  describe('a step that fails for good', () => {
    test('ends what runs beside it, and the run names it', async () => {
      const b = await bench()
      const reached = gate()
      let aborted = false
      b.script('left', ({ context }) => {
        context.signal.addEventListener('abort', () => (aborted = true))
        reached.open()
        return new Promise(() => {})
      })
      b.script('right', async () => {
        await reached.opened
        return down()
      })
      const id = await b.start(diamond())
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'upstream', step: 'right' } })
      expect(aborted).toBe(true)
      expect(await statuses(b, id)).toEqual({ top: 'succeeded', left: 'canceled', right: 'failed' })
    })

    test('cuts off a loop and what waits beside it, and a retry does what was cut off', async () => {
      const b = await bench()
      const reached = gate()
      let healthy = false
      b.script('call', async () => {
        if (healthy) return { ok: true }
        reached.open()
        return new Promise(() => {})
      })
      b.script('bad', async () => {
        if (healthy) return { ok: true }
        await reached.opened
        return down()
      })
      const loop = { id: 'each', kind: 'foreach', items: [1, 2], as: 'n', concurrency: 1, steps: [http('call')] }
      const id = await b.start(
        recipe([
          http('good'),
          { ...loop, needs: ['good'] },
          { id: 'hold', kind: 'wait', duration: '1h', needs: ['good'] },
          http('bad', { needs: ['good'] }),
          transform('join', expr('size(steps.each.output)'), { needs: ['each', 'bad'] }),
        ]),
      )
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { step: 'bad' } })
      expect(await statuses(b, id)).toEqual({
        good: 'succeeded',
        each: 'canceled',
        'each/0': 'canceled',
        'each/0/call': 'canceled',
        hold: 'canceled',
        bad: 'failed',
      })
      healthy = true
      await db.transaction().execute((tx) => requestRetry(tx, id))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'waiting' })
      await later(3700, async () => {
        await wakeDueRuns(db, 500)
        await work(b)
        expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: 2 })
      })
      expect(madeBy(b).toSorted()).toEqual(['bad', 'bad', 'call', 'call', 'call', 'good'])
    })

    test('lets a branch around it fail, whose stored end a resume takes without starting anything', async () => {
      const b = await bench()
      const reached = gate()
      b.script('slow', () => {
        reached.open()
        return new Promise(() => {})
      })
      b.script('bad', async () => {
        await reached.opened
        return down()
      })
      const id = await b.start(
        recipe([
          {
            id: 'fork',
            kind: 'branch',
            on_error: 'continue',
            cases: [
              {
                when: 'true',
                steps: [http('a'), http('slow', { needs: ['a'] }), http('bad', { needs: ['a'] }), http('never')],
              },
            ],
          },
          { id: 'hold', kind: 'wait', duration: '1h' },
          transform('seen', expr('[steps.a.status, steps.slow.status, steps.bad.error.kind, steps.fork.error.step]')),
        ]),
      )
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'waiting' })
      await later(3700, async () => {
        await wakeDueRuns(db, 500)
        await work(b)
        expect(await b.run(id)).toMatchObject({
          state: 'succeeded',
          output: ['succeeded', 'pending', 'upstream', 'fork/0/bad'],
        })
      })
      expect(madeBy(b)).toEqual(['a', 'slow', 'bad'])
    })
  })

  describe('a jump', () => {
    test('back does what lies between once more, and nothing that runs beside it', async () => {
      const b = await bench()
      b.script('d', ({ count }) => (count === 1 ? down() : { step: 'd' }))
      const id = await b.start(
        recipe([
          http('a'),
          http('b', { needs: ['a'] }),
          http('c', { needs: ['a'] }),
          http('d', { needs: ['b', 'c'], on_error: { goto: 'a' } }),
          http('e', { needs: [] }),
          transform('join', expr('[steps.d.output.step, steps.e.output.step]'), { needs: ['d', 'e'] }),
        ]),
      )
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: ['d', 'e'] })
      expect(madeBy(b).toSorted()).toEqual(['a', 'a', 'b', 'b', 'c', 'c', 'd', 'd', 'e'])
      expect(await statuses(b, id)).toEqual({
        ...Object.fromEntries(['a', 'b', 'c', 'd'].map((step) => [step, step === 'd' ? 'failed' : 'succeeded'])),
        ...Object.fromEntries(['a~2', 'b~2', 'c~2', 'd~2', 'e', 'join'].map((step) => [step, 'succeeded'])),
      })
    })

    test('back lets every step that is done again see the failure, and what that has seen', async () => {
      const b = await bench()
      b.script('c', ({ count }) => (count === 1 ? down() : {}))
      const id = await b.start(
        recipe([
          transform('a', expr('[steps.b.output, steps.c.status]'), { needs: [] }),
          transform('b', expr('string(steps.c.status)'), { needs: ['a'] }),
          http('c', { needs: ['b'], on_error: { goto: 'a' } }),
          http('beside', { needs: [] }),
        ]),
      )
      await work(b)
      expect(await b.steps(id)).toMatchObject({
        b: { output: 'pending' },
        a: { output: [null, 'pending'] },
        'a~2': { output: ['pending', 'failed'] },
        'b~2': { output: 'failed' },
        'c~2': { status: 'succeeded' },
      })
    })

    test('ahead passes over what follows the failure and neither is nor follows the target', async () => {
      const b = await bench()
      b.script('a', down)
      const id = await b.start(
        recipe([
          http('a', { on_error: { goto: 'd' } }),
          http('b', { needs: ['a'] }),
          http('c', { needs: ['a'] }),
          http('d', { needs: ['b'] }),
          http('e', { needs: ['c', 'd'] }),
        ]),
      )
      await work(b)
      expect(await statuses(b, id)).toEqual({ a: 'failed', b: 'skipped', c: 'skipped', d: 'succeeded', e: 'succeeded' })
      expect(madeBy(b)).toEqual(['a', 'd', 'e'])
    })
  })

  describe('however it is interrupted', () => {
    test('a diamond whose worker dies goes on with the side that had not ended', async () => {
      const b = await bench()
      const reached = gate()
      const stuck = gate()
      b.script('right', async ({ count }) => {
        if (count === 1) {
          reached.open()
          await stuck.opened
        }
        return { step: 'right' }
      })
      const id = await b.start(diamond())
      const first = b.worker('first')
      await first.claim()
      await reached.opened
      await expect.poll(async () => (await b.steps(id))['left']?.status).toBe('succeeded')
      await later(31, async () => {
        await recoverRuns(db, 10)
        const second = b.worker('second')
        await second.claim()
        await second.idle()
        stuck.open()
        await first.idle()
        expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: ['left', 'right'] })
      })
      expect(madeBy(b)).toEqual(['top', 'left', 'right', 'right'])
      expect(new Set(b.calls.map(({ key }) => key)).size).toBe(3)
    })

    test('a list that had failed when its worker died starts nothing any more', async () => {
      const b = await bench()
      const id = await b.start(diamond())
      b.script('right', down)
      const reached = gate()
      b.script('left', () => {
        reached.open()
        return new Promise(() => {})
      })
      await work(b)
      // As a worker leaves it that dies between the step's failure and the run's.
      await db.deleteFrom('run_steps').where('run_id', '=', id).where('path', '=', 'left').execute()
      await db
        .updateTable('runs')
        .set({ state: 'queued', error: null, finished_at: null })
        .where('id', '=', id)
        .execute()
      const { workspaceId } = b.ctx.actor
      await db.insertInto('run_queue').values({ run_id: id, workspace_id: workspaceId }).execute()
      b.calls.length = 0
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { step: 'right' } })
      expect(b.calls).toEqual([])
    })

    test('a worker that is to stop lets the sides in work end, and the next one joins them', async () => {
      const b = await bench()
      const reached = gate()
      const go = gate()
      let asked = 0
      for (const side of ['left', 'right'])
        b.script(side, async () => {
          if (++asked === 2) reached.open()
          await go.opened
          return { step: side }
        })
      const id = await b.start(diamond())
      const first = b.worker('first')
      await first.claim()
      await reached.opened
      const drained = first.drain(60_000)
      go.open()
      await drained
      expect(await b.run(id)).toMatchObject({ state: 'queued' })
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: ['left', 'right'] })
      expect(madeBy(b)).toEqual(['top', 'left', 'right'])
    })

    async function threeInFlight(b: EngineBench) {
      const reached = gate()
      const go = gate()
      const aborted: string[] = []
      let asked = 0
      for (const step of ['a', 'b', 'c'])
        b.script(step, async ({ context }) => {
          context.signal.addEventListener('abort', () => aborted.push(step))
          if (++asked === 3) reached.open()
          await go.opened
          return { step }
        })
      const id = await b.start(
        recipe([http('a'), http('b', { needs: [] }), http('c', { needs: [] }), http('d', { needs: ['a', 'b', 'c'] })]),
      )
      const worker = b.worker()
      await worker.claim()
      await reached.opened
      return { id, worker, go, aborted }
    }

    test('a pause waits for all that is under way, and the resumed run makes no call twice', async () => {
      const b = await bench()
      const { id, worker, go } = await threeInFlight(b)
      await db.transaction().execute((tx) => requestPause(tx, id, null))
      await worker.pollInbox()
      go.open()
      await worker.idle()
      expect(await b.run(id)).toMatchObject({ state: 'paused' })
      expect(await statuses(b, id)).toEqual({ a: 'succeeded', b: 'succeeded', c: 'succeeded' })
      await db.transaction().execute((tx) => requestResume(tx, id))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded', output: { step: 'd' } })
      expect(madeBy(b)).toEqual(['a', 'b', 'c', 'd'])
    })

    test('a cancellation aborts all that is under way', async () => {
      const b = await bench()
      const { id, worker, aborted } = await threeInFlight(b)
      await db.transaction().execute((tx) => cancelRunTree(tx, id, 'enough'))
      await worker.pollInbox()
      await worker.idle()
      expect(aborted.toSorted()).toEqual(['a', 'b', 'c'])
      expect(await b.run(id)).toMatchObject({ state: 'canceled' })
      expect(await statuses(b, id)).toEqual({ a: 'canceled', b: 'canceled', c: 'canceled' })
    })

    test('a run parks once all that is left of it waits, and joins when the last has woken', async () => {
      const b = await bench()
      const id = await b.start(
        recipe([
          http('a'),
          { id: 'hour', kind: 'wait', duration: '1h', needs: [] },
          { id: 'two', kind: 'wait', duration: '2h', needs: [] },
          http('b', { needs: ['a'] }),
          http('c', { needs: ['b', 'hour', 'two'] }),
        ]),
      )
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'waiting' })
      expect(madeBy(b)).toEqual(['a', 'b'])
      for (const [seconds, state] of [
        [3_700, 'waiting'],
        [7_300, 'succeeded'],
      ] as const)
        await later(seconds, async () => {
          await wakeDueRuns(db, 500)
          await work(b)
          expect(await b.run(id)).toMatchObject({ state })
        })
      expect(madeBy(b)).toEqual(['a', 'b', 'c'])
    })
  })

  describe('max_parallel', () => {
    /** Counts the effects under way; each ends when as many as can be are. */
    function counting(b: EngineBench, ids: string[], width: number) {
      const seen = { now: 0, most: 0 }
      let release: (() => void)[] = []
      for (const id of ids)
        b.script(id, async () => {
          seen.most = Math.max(seen.most, ++seen.now)
          if (seen.now === width) {
            for (const each of release) each()
            release = []
          } else await new Promise<void>((resolve) => release.push(resolve))
          seen.now--
          return { id }
        })
      return seen
    }

    test('bounds the effects of a whole run, over loops within loops and beside them', async () => {
      const b = await bench()
      const seen = counting(b, ['call', 'beside'], 3)
      const loop = (id: string, steps: unknown[]) => ({ id, kind: 'foreach', items: [1, 2, 3, 4], as: id, steps })
      const id = await b.start(
        recipe(
          [
            { ...loop('outer', [loop('inner', [http('call')])]), needs: [] },
            http('beside', { needs: [] }),
            http('last', { needs: ['outer', 'beside'] }),
          ],
          { settings: { max_parallel: 3 } },
        ),
      )
      // Seventeen effects by threes: the last two are let go by hand.
      const worker = b.worker()
      await worker.claim()
      await expect.poll(() => b.calls.length).toBe(17)
      expect(seen).toEqual({ now: 2, most: 3 })
      expect(await b.run(id)).toMatchObject({ state: 'running' })
      await db.transaction().execute((tx) => cancelRunTree(tx, id, 'seen enough'))
      await worker.pollInbox()
      await worker.idle()
    })

    test('of one makes steps follow each other, and those that rest or wait hold no place', async () => {
      const b = await bench()
      b.script('flaky', ({ count }) => (count === 1 ? Promise.reject(new StepError('upstream', 'down')) : { ok: true }))
      const id = await b.start(
        recipe(
          [
            { id: 'hold', kind: 'wait', duration: '1h', needs: [] },
            http('flaky', { needs: [], retry: { max_attempts: 2, backoff: '5m' } }),
            http('b', { needs: [] }),
            http('c', { needs: [] }),
          ],
          { settings: { max_parallel: 1 } },
        ),
      )
      await work(b)
      expect(madeBy(b).slice(0, 3).toSorted()).toEqual(['b', 'c', 'flaky'])
      await later(3_700, async () => {
        await wakeDueRuns(db, 500)
        await work(b)
        expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      })
    })
  })

  describe('a once step that was sent when another fails', () => {
    const each = { id: 'each', kind: 'foreach', items: ['pay', 'bad'], as: 'item', concurrency: 2 }
    const beside = {
      'beside it': recipe([http('pay', { once: true, needs: [] }), http('bad', { needs: [] })]),
      'in another item': recipe([
        {
          ...each,
          steps: [http('pay', { once: true, when: "item == 'pay'" }), http('bad', { when: "item == 'bad'" })],
        },
      ]),
    }
    async function failBeside(b: EngineBench, definition: (typeof beside)['beside it']) {
      const asked = gate()
      const answer = gate()
      let isDown = true
      b.script('pay', async ({ context }) => {
        asked.open()
        await Promise.race([
          answer.opened,
          new Promise((_, reject) =>
            context.signal.addEventListener('abort', () => reject(context.signal.reason), { once: true }),
          ),
        ])
        return { paid: true }
      })
      b.script('bad', async () => {
        await asked.opened
        return isDown ? down() : { ok: true }
      })
      const id = await b.start(definition)
      const worker = b.worker()
      await worker.claim()
      const failed = async () => Object.values(await statuses(b, id)).includes('failed')
      await expect.poll(failed).toBe(true)
      return { id, worker, answer, mend: () => (isDown = false) }
    }

    test.each(Object.keys(beside) as (keyof typeof beside)[])('%s ends, and a retry keeps it', async (where) => {
      const b = await bench()
      const { id, worker, answer, mend } = await failBeside(b, beside[where])
      expect(await b.run(id)).toMatchObject({ state: 'running' })
      answer.open()
      await worker.idle()
      expect(await b.run(id)).toMatchObject({ state: 'failed', error: { kind: 'upstream' } })
      mend()
      await db.transaction().execute((tx) => requestRetry(tx, id))
      await work(b)
      expect(await b.run(id)).toMatchObject({ state: 'succeeded' })
      expect(madeBy(b).filter((step) => step === 'pay')).toHaveLength(1)
    })

    test('is still cut off by what ends the run', async () => {
      const b = await bench()
      const { id, worker } = await failBeside(b, beside['beside it'])
      await db.transaction().execute((tx) => cancelRunTree(tx, id, 'enough'))
      await worker.pollInbox()
      await worker.idle()
      expect(await b.run(id)).toMatchObject({ state: 'canceled' })
      expect(await statuses(b, id)).toMatchObject({ pay: 'canceled', bad: 'failed' })
    })
  })

  test('a replay from one side keeps the other, and does what follows once more', async () => {
    const b = await bench()
    const id = await b.start(
      recipe([
        http('top'),
        http('left', { needs: ['top'] }),
        http('right', { needs: ['top'] }),
        http('c', { needs: ['right'] }),
        http('d', { needs: ['left', 'c'] }),
      ]),
    )
    await work(b)
    const again = await replayRun(b.ctx, { runId: id, from: 'right' })
    b.calls.length = 0
    await work(b)
    expect(await b.run(again.id)).toMatchObject({ state: 'succeeded' })
    expect(madeBy(b)).toEqual(['right', 'c', 'd'])
  })

  test.each([
    ['branch', { kind: 'branch', cases: [{ when: 'true', steps: [http('a'), http('b')] }] }],
    ['loop', { kind: 'foreach', items: [1], as: 'n', steps: [http('a'), http('b')] }],
  ])(
    'a replay goes on with a %s that was cut off beside the step, and keeps what had succeeded in it',
    async (_, step) => {
      const b = await bench()
      const asked = gate()
      b.script('b', ({ context: { signal } }) => {
        asked.open()
        return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true }))
      })
      b.script('c', async () => {
        await asked.opened
        return down()
      })
      const id = await b.start(recipe([{ id: 'aside', ...step, needs: [] }, http('c', { needs: [] })]))
      await work(b)
      expect(await statuses(b, id)).toMatchObject({
        aside: 'canceled',
        'aside/0/a': 'succeeded',
        'aside/0/b': 'canceled',
      })
      for (const each of ['b', 'c']) b.script(each, () => ({ step: each }))
      const again = await replayRun(b.ctx, { runId: id, from: 'c' })
      b.calls.length = 0
      await work(b)
      expect(await b.run(again.id)).toMatchObject({ state: 'succeeded', error: null })
      expect(madeBy(b).toSorted()).toEqual(['b', 'c'])
    },
  )

  test('a replay does again what had failed beside the step, in a list of its own', async () => {
    const b = await bench()
    const fork = (id: string, inner: string) => ({
      id,
      kind: 'branch',
      needs: [],
      cases: [{ when: 'true', steps: [http(inner)] }],
    })
    const id = await b.start(recipe([fork('one', 'a'), fork('two', 'b')]))
    const asked = gate()
    for (const each of ['a', 'b'])
      b.script(each, async () => {
        if (madeBy(b).length === 2) asked.open()
        await asked.opened
        return down()
      })
    await work(b)
    for (const each of ['a', 'b']) b.script(each, () => ({ step: each }))
    for (const from of ['one', 'two']) {
      const again = await replayRun(b.ctx, { runId: id, from })
      b.calls.length = 0
      await work(b)
      expect(await b.run(again.id)).toMatchObject({ state: 'succeeded', error: null })
      expect(madeBy(b).toSorted()).toEqual(['a', 'b'])
    }
  })
}
