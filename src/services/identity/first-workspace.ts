import type { Runtime } from '../../context.ts'
import { uuidv7 } from '../../lib/ids.ts'

export const firstWorkspaceSlug = 'default'

/** The id of the first workspace, which is the operator's, made where it is missing. Any number of processes may start at once. */
export async function ensureFirstWorkspace({ db }: Pick<Runtime, 'db'>): Promise<string> {
  const found = await findFirstWorkspace(db)
  if (found) return found.id
  await db
    .insertInto('workspaces')
    .values({ id: uuidv7(), slug: firstWorkspaceSlug, name: 'Default', is_operator: true })
    .onConflict((conflict) => conflict.column('slug').doNothing())
    .execute()
  // Another process may have made it meanwhile.
  return (await findFirstWorkspace(db))!.id
}

const findFirstWorkspace = (db: Runtime['db']) =>
  db.selectFrom('workspaces').select('id').where('slug', '=', firstWorkspaceSlug).executeTakeFirst()
