import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { toHex } from '../../lib/hex.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { slugOf } from '../../lib/slug.ts'

/** The id of a new workspace. Its slug ends in random digits: so it is never taken, and tells nobody what others have. */
export async function insertWorkspace(
  { db, random }: Pick<Runtime, 'db' | 'random'>,
  { name, slugFrom, fallback }: { name: string; slugFrom: string; fallback: string },
): Promise<string> {
  const base = slugOf(slugFrom, fallback).slice(0, 40).replace(/-+$/, '')
  for (;;) {
    const row = await db
      .insertInto('workspaces')
      .values({ id: uuidv7(), slug: `${base}-${toHex(random(4))}`, name })
      .onConflict((conflict) => conflict.column('slug').doNothing())
      .returning('id')
      .executeTakeFirst()
    if (!row) continue
    // What the engine is told of the plan; nothing runs here yet that would have to be counted.
    await sql`
      insert into workspace_limits (workspace_id, runs)
      select w.id, (p.limits ->> 'concurrent_runs')::integer from workspaces w join plans p on p.slug = w.plan
      where w.id = ${row.id} and p.limits ->> 'concurrent_runs' is not null`.execute(db)
    return row.id
  }
}
