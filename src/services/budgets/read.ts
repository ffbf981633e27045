import type { ServiceContext } from '../../context.ts'
import { newestFirst } from '../../db/keyset.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { toBudget, withNow, type Budget } from './budget.ts'
import { scopeTypes, type ScopeType } from './scope.ts'

type Context = Pick<ServiceContext, 'db' | 'actor'>

export const budgetNotFound = (id: string): AppError =>
  new AppError('not-found', `The budget ${id.slice(0, 100)} does not exist.`)

/** Those of workflows and runs are shown with what they bound. */
const all = ({ db, actor }: Context) =>
  db
    .selectFrom('budgets')
    .selectAll()
    .select(withNow)
    .where('workspace_id', '=', actor.workspaceId)
    .where('level', '<', 4)

export async function listBudgets(
  ctx: Context,
  page: PageRequest & { scope?: ScopeType | undefined },
): Promise<Page<Budget>> {
  const { scope } = page
  const budgets = all(ctx).$if(scope !== undefined, (query) => query.where('level', '=', scopeTypes.indexOf(scope!)))
  return toPage(await newestFirst(budgets, page).execute(), page.limit, byCreation, toBudget)
}

export async function getBudget(ctx: Context, id: string): Promise<Budget> {
  const row = isUuid(id) ? await all(ctx).where('id', '=', id).executeTakeFirst() : undefined
  if (!row) throw budgetNotFound(id)
  return toBudget(row)
}
