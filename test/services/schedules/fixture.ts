import { sql } from 'kysely'
import type { ServiceContext } from '../../../src/context.ts'
import { jsonb } from '../../../src/db/json.ts'
import type { JsonObject } from '../../../src/lib/json.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { insertRuns } from '../../../src/services/runs/create-run.ts'
import { createSchedule } from '../../../src/services/schedules.service.ts'
import type { ScheduleSettings } from '../../../src/services/schedules/settings.ts'
import { schedulesTick } from '../../../src/services/schedules/tick.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

export interface Workbench extends TestDatabase {
  ctx: ServiceContext
  /** Puts the database's clock at this instant, where it stands still: no test depends on how fast it runs. */
  setClock(instant: string): Promise<void>
}

export async function createWorkbench(): Promise<Workbench> {
  const database = await createTestDatabase()
  const ctx = await createServiceContext(database)
  const setClock = async (instant: string) => {
    await sql
      .raw(
        `create or replace function app_now() returns timestamptz language sql stable as
         'select timestamptz ''${new Date(instant).toISOString()}'''`,
      )
      .execute(database.db)
  }
  return { ...database, ctx, setClock }
}

export async function aRecipe({ ctx }: Pick<Workbench, 'ctx'>, definition: JsonObject = {}): Promise<string> {
  const id = uuidv7()
  const { workspaceId } = ctx.actor
  await ctx.db
    .insertInto('workflow_recipes')
    .values({ id, workspace_id: workspaceId, slug: `r-${id}`, name: 'A recipe', version: 1 })
    .execute()
  await aVersion({ ctx }, id, 1, definition)
  return id
}

export async function aVersion(
  { ctx }: Pick<Workbench, 'ctx'>,
  recipeId: string,
  version: number,
  definition: JsonObject,
) {
  await ctx.db
    .insertInto('recipe_versions')
    .values({
      recipe_id: recipeId,
      version,
      workspace_id: ctx.actor.workspaceId,
      definition: jsonb({ name: 'A recipe', steps: [], ...definition }),
      hash: `hash-${version}`,
    })
    .execute()
  await ctx.db.updateTable('workflow_recipes').set({ version }).where('id', '=', recipeId).execute()
}

/** A schedule of a recipe of its own. */
export async function aSchedule(bench: Workbench, settings: ScheduleSettings): Promise<string> {
  const schedule = await createSchedule(bench.ctx, { recipe_id: await aRecipe(bench), ...settings })
  return schedule.id
}

/** The same schedule many times over; `shift` puts each copy's next time another minute later. */
export async function copySchedule({ db }: Pick<Workbench, 'db'>, id: string, copies: number, shift = false) {
  await sql`
    insert into schedules (id, workspace_id, recipe_id, name, cron, anchor_at, timezone, misfire, overlap, dst,
      accounted_until, next_slot_at, next_fire_at)
    select gen_random_uuid(), workspace_id, recipe_id, 'copy ' || n, cron, anchor_at, timezone, misfire, overlap, dst,
      accounted_until, next_slot_at, next_fire_at + ${shift ? 1 : 0} * n * interval '1 minute'
    from schedules, generate_series(1, ${copies}::int) n where id = ${id}`.execute(db)
}

/** Ticks until nothing is due. */
export async function tickAll({ ctx }: Pick<Workbench, 'ctx'>) {
  for (let pass = 0; pass < 100; pass++) if (!(await schedulesTick(ctx)).more) return
  throw new Error('The tick never came to an end.')
}

export const ledger = ({ db }: Pick<Workbench, 'db'>, scheduleId: string) =>
  db.selectFrom('schedule_slots').selectAll().where('schedule_id', '=', scheduleId).orderBy('slot_at').execute()

/** One line a row: `09:00:00 fired`, `09:01:00..09:58:00 ×58 missed misfire`. */
export async function story(bench: Pick<Workbench, 'db'>, scheduleId: string): Promise<string[]> {
  const rows = await ledger(bench, scheduleId)
  return rows.map((row) =>
    [
      row.slot_to === null ? time(row.slot_at) : `${time(row.slot_at)}..${time(row.slot_to)} ×${row.count}`,
      row.status,
      row.reason,
      row.late ? 'late' : null,
    ]
      .filter((part) => part !== null)
      .join(' '),
  )
}
const time = (at: Date) => at.toISOString().slice(11, 19)

export const runsOf = ({ db }: Pick<Workbench, 'db'>, scheduleId: string) =>
  db.selectFrom('runs').selectAll().where('schedule_id', '=', scheduleId).orderBy('slot_at').execute()

export async function endRuns({ db }: Pick<Workbench, 'db'>, scheduleId: string) {
  await db
    .updateTable('runs')
    .set({ state: 'succeeded', finished_at: sql`app_now()` })
    .where('schedule_id', '=', scheduleId)
    .where('state', 'in', ['queued', 'running'])
    .execute()
}

/** A run that a step of this one has started and that has not begun. */
export async function childOf({ ctx }: Pick<Workbench, 'ctx'>, parent: string): Promise<string> {
  const id = uuidv7()
  await insertRuns(ctx.db, [
    {
      id,
      workspaceId: ctx.actor.workspaceId,
      recipeId: null,
      recipeVersion: null,
      definition: { name: 'Child', steps: [] },
      trigger: { kind: 'recipe', execution_id: parent },
      input: {},
      parentRunId: parent,
    },
  ])
  return id
}

export const stateOf = async ({ db }: Pick<Workbench, 'db'>, runId: string) =>
  (await db.selectFrom('runs').select('state').where('id', '=', runId).executeTakeFirstOrThrow()).state
