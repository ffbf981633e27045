import fc from 'fast-check'
import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { recoverRuns, wakeDueRuns } from '../../../src/services/runs/claim.ts'
import { cancelRunTree } from '../../../src/services/runs/children.ts'
import { wakeHeldRuns } from '../../../src/services/runs/concurrency/held.ts'
import { passSlots, reconcileSlots } from '../../../src/services/runs/concurrency/slots.ts'
import { updateCurrentWorkspace } from '../../../src/services/workspaces.service.ts'
import { requestPause, requestResume } from '../../../src/services/runs/pause.ts'
import type { Engine } from '../../../src/services/runs/engine.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { gate, http } from '../../support/engine.ts'
import { createLimitBench, expectExact } from './support-limits.ts'

let database: TestDatabase
beforeAll(async () => {
  database = await createTestDatabase()
})
afterAll(() => database.close())

const nth = fc.nat({ max: 7 })
const commands = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('start' as const),
      key: fc.constantFrom('a', 'b', 'c'),
      priority: fc.constantFrom(0, 5),
    }),
    fc.record({ do: fc.constantFrom('claim', 'finish', 'wake', 'crash', 'pass', 'unlimit') }),
    fc.record({ do: fc.constantFrom('cancel', 'pause', 'resume'), nth }),
  ),
  { minLength: 5, maxLength: 30 },
)

test('whatever is done to runs under limits, slots are what they count, and no one waits before a free one', async () => {
  await fc.assert(
    fc.asyncProperty(commands, fc.option(fc.constantFrom(1, 2, 4)), async (sequence, ofWorkspace) => {
      const { db } = database
      const b = await createLimitBench(database)
      const limit = (concurrent_executions: number | null) =>
        updateCurrentWorkspace(b.ctx, { settings: { concurrent_executions } })
      await limit(ofWorkspace)
      const recipeId = await b.store({ concurrency: [{ limit: 3 }, { limit: 2, key: '{{ input.key }}' }] }, [
        http('only'),
        { id: 'hold', kind: 'wait', duration: '1h' },
        http('last'),
      ])
      let open = gate()
      const waits = () => open.opened.then(() => ({}))
      b.script('only', waits)
      b.script('last', waits)
      const ids: string[] = []
      let worker = b.worker('w0')
      const dead: Engine[] = []
      let hours = 0
      const run = (n: number) => ids[n % Math.max(1, ids.length)]
      const command = async (id: string | undefined, what: 'cancel' | 'pause' | 'resume') => {
        if (id === undefined) return
        await db.transaction().execute(async (tx): Promise<unknown> => {
          if (what === 'cancel') return cancelRunTree(tx, id, 'enough')
          return what === 'pause' ? requestPause(tx, id, null) : requestResume(tx, id)
        })
        await worker.pollInbox()
      }
      // The dead as well: one whose run was taken from it claims the next, and would wait at the new gate.
      const finish = async () => {
        open.open()
        await Promise.all([worker, ...dead].map((each) => each.idle()))
        open = gate()
      }
      try {
        for (const step of sequence) {
          if ('key' in step) ids.push(await b.execute(recipeId, { key: step.key }, { priority: step.priority }))
          else if ('nth' in step) await command(run(step.nth), step.do as 'cancel' | 'pause' | 'resume')
          else if (step.do === 'claim') await worker.claim()
          else if (step.do === 'finish') await finish()
          else if (step.do === 'pass') await passSlots(db)
          else if (step.do === 'unlimit') await limit(null)
          else if (step.do === 'wake') {
            await finish()
            await database.shiftClock({ seconds: ++hours * 3601 })
            await recoverRuns(db, 100)
            await wakeDueRuns(db, 100)
          } else {
            // Its leases run out and it never learns of it until it writes.
            dead.push(worker)
            worker = b.worker(`w${dead.length}`)
            await database.shiftClock({ seconds: ++hours * 3601 })
            await recoverRuns(db, 100)
          }
          await expectExact(db)
        }
        await finish()
        // One tick, and whoever could run is in the queue.
        await wakeHeldRuns(db, 100)
        await passSlots(db)
        expect(await reconcileSlots(db)).toEqual({ mended: 0, next: null })
        await expectExact(db)
        const { rows: idle } = await sql`
          select h.run_id from held_runs h join run_slots s on s.run_id = h.run_id and s.counter = h.line
          where h.reason = 'slot' and has_room(s)`.execute(db)
        expect(idle).toEqual([])
        // And in the end all have ended.
        open.open()
        for (const id of ids) await command(id, 'resume')
        for (let round = 0; round < ids.length * 2 + 2; round++) {
          await database.shiftClock({ seconds: ++hours * 3601 })
          await recoverRuns(db, 100)
          await wakeDueRuns(db, 100)
          await passSlots(db)
          await worker.claim()
          await worker.idle()
        }
        expect(
          (await b.states(...(ids.length > 0 ? ids : [recipeId]))).filter((s) => s !== 'succeeded' && s !== 'canceled'),
        ).toEqual(ids.length > 0 ? [] : [undefined])
        await expectExact(db)
      } finally {
        open.open()
        await Promise.all([worker, ...dead].map((each) => each.idle()))
        await database.shiftClock({ seconds: 0 })
        await sql`truncate runs cascade`.execute(db)
      }
    }),
    { numRuns: 15 },
  )
}, 180_000)
