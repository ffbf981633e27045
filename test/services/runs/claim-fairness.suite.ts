import { sql } from 'kysely'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { claimRuns } from '../../../src/services/runs/claim.ts'
import { dropEnded, releaseWorkspace, sweepPaused } from '../../../src/services/runs/concurrency/held.ts'
import { insertRuns } from '../../../src/services/runs/create-run.ts'
import type { EngineDatabase } from '../../support/engine.ts'

/** What one workspace's work means to the first run of another; told in claims, not in time. */
export function claimFairnessSuite(open: () => Promise<EngineDatabase>): void {
  let database: EngineDatabase
  let db: EngineDatabase['db']
  beforeAll(async () => {
    database = await open()
    db = database.db
  })
  afterAll(() => database.close())

  async function workspaces(count: number): Promise<string[]> {
    const ids = Array.from({ length: count }, () => uuidv7())
    await db
      .insertInto('workspaces')
      .values(ids.map((id) => ({ id, slug: `w-${id}`, name: 'Workspace of a test' })))
      .execute()
    return ids
  }
  /** Runs written by one statement, in the queue and, where a counter is given, under a limit of one. */
  async function queue(workspaceId: string, count: number, counter: string | null = null): Promise<void> {
    await sql`
      with made as (
        insert into runs (id, workspace_id, state, trigger, input, definition, last_seq, slotted)
        select gen_random_uuid(), ${workspaceId}::uuid, 'queued', '{"kind":"api"}', '{}', '{"name":"Nothing","steps":[]}', 1,
          ${counter}::text is not null
        from generate_series(1, ${count}::integer) returning id, workspace_id
      ), slots as (
        insert into run_slots (run_id, counter, workspace_id, scope, size)
        select id, ${counter}::text::uuid, workspace_id, 'recipe', 1 from made where ${counter}::text is not null
      )
      insert into run_queue (run_id, workspace_id) select id, workspace_id from made`.execute(db)
  }
  const one = async (workspaceId: string): Promise<string> => {
    const id = uuidv7()
    const common = { workspaceId, recipeId: null, recipeVersion: null, trigger: { kind: 'api' }, input: {} }
    await insertRuns(db, [{ ...common, id, definition: { name: 'Nothing', steps: [] } }])
    return id
  }

  test('ten thousand queued, ten thousand that get no slot and a thousand paused workspaces delay it by no claim', async () => {
    const [busy, limited, fresh, ...paused] = await workspaces(1_003)
    await queue(busy!, 10_000)
    await queue(limited!, 10_000, uuidv7())
    await db
      .insertInto('workspace_pauses')
      .values(paused.map((workspace_id) => ({ workspace_id, reason: null, paused_by: 'key:test' })))
      .execute()
    for (const id of paused) await queue(id, 1)
    let after: string | null = null
    const claim = async () => {
      const claimed = await claimRuns(db, 'test', 20, after)
      after = claimed.after
      return claimed
    }
    await claim()
    for (let round = 0; round < 5; round++) {
      const id = await one(fresh!)
      const { runs, blocked } = await claim()
      expect(runs.map((run) => run.id)).toContain(id)
      // Its share of a claim, and no more, is what the others take of it.
      expect(blocked.length).toBeLessThanOrEqual(10)
    }
    // Whoever is in line is not looked at by claims any more.
    await sql`
      with moved as (delete from run_queue where workspace_id = ${limited!} returning run_id, workspace_id, ready_at),
      held as (
        insert into held_runs (run_id, workspace_id, reason, line, since)
        select m.run_id, m.workspace_id, 'slot', s.counter, m.ready_at from moved m join run_slots s on s.run_id = m.run_id)
      update runs set state = 'blocked' where id in (select run_id from moved)`.execute(db)
    const id = await one(fresh!)
    const { runs, blocked } = await claim()
    expect(runs.map((run) => run.id)).toContain(id)
    expect(blocked).toEqual([])
  })

  test('what a paused workspace has ready is out of the way of claims, and comes back in its order', async () => {
    const [workspace] = await workspaces(1)
    const ids = [await one(workspace!), await one(workspace!)]
    const pause = { workspace_id: workspace!, reason: null, paused_by: 'key:test' }
    await db.insertInto('workspace_pauses').values(pause).execute()
    while ((await queued()) > 0) await sweepPaused(db)
    const late = await one(workspace!)
    await sweepPaused(db)
    expect(await queued()).toBe(0)
    // Queue rows of all paused workspaces are gone: a claim walks past none.
    const { rows } = await sql<{ count: number }>`
      select count(*)::integer as count from run_queue q join workspace_pauses p using (workspace_id)`.execute(db)
    expect(rows).toEqual([{ count: 0 }])
    await db.deleteFrom('workspace_pauses').where('workspace_id', '=', workspace!).execute()
    expect((await sweepPaused(db)).toSorted()).toEqual([...ids, late].toSorted())
    const back = await db
      .selectFrom('run_queue')
      .select('run_id')
      .where('workspace_id', '=', workspace!)
      .orderBy('ready_at')
      .orderBy('run_id')
      .execute()
    expect(back.map((row) => row.run_id)).toEqual([...ids, late])

    async function queued(): Promise<number> {
      return (await db.selectFrom('run_queue').select('run_id').where('workspace_id', '=', workspace!).execute()).length
    }
  })

  test('the end of a pause brings back nothing that has ended, and what has ended leaves the queue', async () => {
    const [workspace] = await workspaces(1)
    await queue(workspace!, 3)
    await db
      .insertInto('workspace_pauses')
      .values({ workspace_id: workspace!, reason: null, paused_by: 'key:test' })
      .execute()
    await sweepPaused(db)
    const runs = await db.selectFrom('runs').select('id').where('workspace_id', '=', workspace!).orderBy('id').execute()
    const [first, second, third] = runs.map(({ id }) => id)
    // As a cancel does that does not see the row which the sweep has just written.
    const end = (id: string) => db.updateTable('runs').set({ state: 'canceled' }).where('id', '=', id).execute()
    await end(first!)
    await db.deleteFrom('workspace_pauses').where('workspace_id', '=', workspace!).execute()
    expect((await releaseWorkspace(db, workspace!)).toSorted()).toEqual([second, third])
    const left = await db.selectFrom('held_runs').select('run_id').where('workspace_id', '=', workspace!).execute()
    expect(left).toEqual([])
    await end(second!)
    for (let after = await dropEnded(db, null); after !== null;) after = await dropEnded(db, after)
    const queued = await db.selectFrom('run_queue').select('run_id').where('workspace_id', '=', workspace!).execute()
    expect(queued).toEqual([{ run_id: third }])
  })
}
