import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'

export interface CredentialUser {
  type: 'agent' | 'recipe' | 'schedule' | 'workspace'
  slug: string
}

/** What names a credential, by slug or id, in the state that counts from now on. */
export async function usersOf(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  { id, slug }: { id: string; slug: string },
): Promise<CredentialUser[]> {
  const workspace = sql`${actor.workspaceId}::text::uuid`
  const names = sql`jsonb_build_object('slug', ${slug}::text, 'id', ${id}::text)`
  const named = (column: string) =>
    sql`jsonb_path_exists(${sql.ref(column)}, '$.**.credential ? (@ == $slug || @ == $id)', ${names})`
  // As it stands in the text of a JSON document: secret('slug.field'), with either quote, or 'slug.field' | secret.
  const inText = sql`definition::text ~ ${`['"]${slug}[.][A-Za-z0-9_-]+\\\\?['"]`}::text`
  const { rows } = await sql<CredentialUser>`
    select 'agent' as type, slug from agents
      where workspace_id = ${workspace} and deleted_at is null and ${named('model')}
    union all
    select 'recipe', r.slug from workflow_recipes r
      join recipe_versions v on v.recipe_id = r.id and v.version = r.version
      where r.workspace_id = ${workspace} and r.deleted_at is null and (${named('definition')} or ${inText})
    union all
    select 'schedule', id::text from schedules
      where workspace_id = ${workspace} and alerts ->> 'credential' in (${slug}::text, ${id}::text)
    union all
    select 'workspace', slug from workspaces where id = ${workspace} and ${named('settings')}
    order by 1, 2`.execute(db)
  return rows
}
