import type { Runtime } from '../../context.ts'
import { uuidv7 } from '../../lib/ids.ts'

export const firstWorkspaceSlug = 'default'

/** The id of the first workspace, made where it is missing. Any number of processes may start at once. */
export async function ensureFirstWorkspace({ db }: Pick<Runtime, 'db'>): Promise<string> {
  await db
    .insertInto('workspaces')
    .values({ id: uuidv7(), slug: firstWorkspaceSlug, name: 'Default' })
    .onConflict((conflict) => conflict.column('slug').doNothing())
    .execute()
  const row = await db
    .selectFrom('workspaces')
    .select('id')
    .where('slug', '=', firstWorkspaceSlug)
    .executeTakeFirstOrThrow()
  return row.id
}
