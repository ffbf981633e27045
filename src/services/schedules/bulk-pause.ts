import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import type { AuditContext } from '../audit/record.ts'
import { pauseSchedule, resumeSchedule } from './change-schedule.ts'
import { recipeIdOf } from './read-schedules.ts'

type Context = Pick<ServiceContext, 'db' | 'wake'> & AuditContext

/** Changed by one call; the answer says when there are more. */
const maxChanged = 500

/** Which schedules: those of a recipe, those with these ids, or all of the workspace. */
export interface BulkTarget {
  recipe_id?: string | undefined
  ids?: string[] | undefined
  all?: true | undefined
}

interface Named {
  id: string
  name: string
  recipe_id: string
}
export interface BulkOutcome {
  changed: Named[]
  /** How many of those that were meant were so already. */
  unchanged: number
  /** Given ids that are none of this workspace's. */
  unknown: string[]
  /** What kept a schedule from being changed. */
  failed: (Named & { detail: string })[]
  /** There are more to change than one call takes: the same call again takes the next. */
  has_more: boolean
}

/** Each schedule is changed under its own lock, as by itself: one that cannot be does not hold up the others. */
export const pauseSchedules = (ctx: Context, target: BulkTarget) => changeAll(ctx, target, 'pause')
/** Takes up parked ones as well. */
export const resumeSchedules = (ctx: Context, target: BulkTarget) => changeAll(ctx, target, 'resume')

async function changeAll(ctx: Context, target: BulkTarget, verb: 'pause' | 'resume'): Promise<BulkOutcome> {
  if (verb === 'resume') requirePermission(ctx, 'recipes:execute')
  if ([target.recipe_id, target.ids, target.all].filter((given) => given !== undefined).length !== 1)
    throw new AppError('invalid', 'Say which schedules.', {
      errors: [{ pointer: '', detail: 'takes exactly one of recipe_id, ids and all' }],
    })
  const ids = target.ids?.filter(isUuid).map((id) => id.toLowerCase())
  let meant = ctx.db.selectFrom('schedules').where('workspace_id', '=', ctx.actor.workspaceId)
  if (ids) meant = ids.length > 0 ? meant.where('id', 'in', ids) : meant.where(sql<boolean>`false`)
  if (target.recipe_id !== undefined) meant = meant.where('recipe_id', '=', await recipeIdOf(ctx, target.recipe_id))
  const { total } = await meant.select(sql<number>`count(*)::int`.as('total')).executeTakeFirstOrThrow()
  const isOther = verb === 'pause' ? sql<boolean>`not paused` : sql<boolean>`(paused or fault is not null)`
  const { n: due } = await meant
    .where(isOther)
    .select(sql<number>`count(*)::int`.as('n'))
    .executeTakeFirstOrThrow()
  const rows = await meant.where(isOther).select(['id', 'name', 'recipe_id']).orderBy('id').limit(maxChanged).execute()

  const outcome: BulkOutcome = {
    changed: [],
    unchanged: total - due,
    unknown: await unknownOf(ctx, target.ids),
    failed: [],
    has_more: due > rows.length,
  }
  for (const row of rows) {
    try {
      await (verb === 'pause' ? pauseSchedule : resumeSchedule)(ctx, { id: row.id })
      outcome.changed.push(row)
    } catch (error) {
      if (error instanceof AppError) {
        // Deleted since it was listed.
        if (error.kind !== 'not-found') outcome.failed.push({ ...row, detail: error.detail })
      } else throw error
    }
  }
  return outcome
}

async function unknownOf({ db, actor }: Context, given: string[] | undefined): Promise<string[]> {
  const ids = given?.filter(isUuid) ?? []
  const found =
    ids.length === 0
      ? []
      : await db
          .selectFrom('schedules')
          .select('id')
          .where('workspace_id', '=', actor.workspaceId)
          .where('id', 'in', ids)
          .execute()
  const known = new Set(found.map((row) => row.id))
  return (given ?? []).filter((id) => !known.has(id.toLowerCase()))
}
