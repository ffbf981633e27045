import type { ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'

/** Throws `not-found` for what is no execution of the workspace. */
export async function checkExecution({ db, actor }: Pick<ServiceContext, 'db' | 'actor'>, id: string) {
  const run = await db
    .selectFrom('runs')
    .select(['id', 'last_seq', 'finished_at'])
    .where('workspace_id', '=', actor.workspaceId)
    .where('id', '=', checkedId(id))
    .executeTakeFirst()
  if (!run) throw executionNotFound(id)
  return run
}

export function checkedId(id: string): string {
  if (!isUuid(id)) throw executionNotFound(id)
  return id
}

export const executionNotFound = (id: string) => new AppError('not-found', `Execution ${id} does not exist.`)

/** A deleted recipe is still found by its id: its executions stay readable. */
export async function recipeIdOf(ctx: Pick<ServiceContext, 'db' | 'actor'>, idOrSlug: string): Promise<string> {
  const query = ctx.db.selectFrom('workflow_recipes').select('id').where('workspace_id', '=', ctx.actor.workspaceId)
  const recipe = await (
    isUuid(idOrSlug)
      ? query.where('id', '=', idOrSlug)
      : query.where('slug', '=', idOrSlug).where('deleted_at', 'is', null)
  ).executeTakeFirst()
  if (!recipe) throw new AppError('not-found', `Recipe ${idOrSlug} does not exist.`)
  return recipe.id
}
