import type { ServiceContext } from '../../src/context.ts'
import { scopedTo } from '../../src/db/scope.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { permissionsOf } from '../../src/lib/permissions.ts'
import type { TestDatabase } from './database.ts'
import { createServiceContext } from './service-context.ts'

export interface TestTeam {
  workspaceId: string
  /** The runtime, without a caller. */
  ctx: ServiceContext
  /** A member as a request of theirs would come: confined to the workspace, with what the role gives. */
  member(
    role: string,
    of?: { email?: string; permissions?: ServiceContext['actor']['permissions'] },
  ): Promise<ServiceContext>
  /** The roles of all members, by user. */
  roles(): Promise<Record<string, string>>
}

export async function createTeam(database: TestDatabase): Promise<TestTeam> {
  const base = await createServiceContext(database)
  const { workspaceId } = base.actor
  const ctx: ServiceContext = { ...base, db: database.engine }
  return {
    workspaceId,
    ctx,
    async member(role, { email, permissions } = {}) {
      const id = uuidv7()
      const user = { id, issuer: 'https://id.example', subject: id, email: email ?? `${id}@example.com` }
      await database.db
        .insertInto('users')
        .values({ ...user, claims_issued_at: new Date() })
        .execute()
      await database.db.insertInto('memberships').values({ workspace_id: workspaceId, user_id: id, role }).execute()
      const held = permissions ?? new Set(permissionsOf(role, { isOperator: false }))
      return {
        ...ctx,
        db: scopedTo(database.engine, workspaceId),
        actor: { kind: 'user', id, workspaceId, permissions: held },
      }
    },
    async roles() {
      const rows = await database.db
        .selectFrom('memberships')
        .select(['user_id', 'role'])
        .where('workspace_id', '=', workspaceId)
        .execute()
      return Object.fromEntries(rows.map((row) => [row.user_id, row.role]))
    },
  }
}

export const outcomes = async (work: readonly Promise<unknown>[]): Promise<string[]> =>
  (await Promise.allSettled(work)).map((end) =>
    end.status === 'fulfilled' ? 'ok' : String((end.reason as { kind?: string }).kind ?? end.reason),
  )
