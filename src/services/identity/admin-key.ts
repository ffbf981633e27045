import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { rolePermissions } from '../../lib/permissions.ts'
import { revokeInvitationsBy } from '../team/invitations.ts'
import { ensureFirstWorkspace } from './first-workspace.ts'
import { callerCacheOf } from './caller-cache.ts'
import { formatKey, hashKey, keyPrefix } from './key-format.ts'

/** `created_by` of the key that ADMIN_API_KEY installs, and of the one that a first start makes. */
export const keyOfConfiguration = 'config:ADMIN_API_KEY'
const byFirstStart = 'first-start'

/**
 * Sees to it that somebody can get in. Installs ADMIN_API_KEY; without it, and only in an embedded database that never
 * had a key, makes one: `keep` stores it where only its owner can read it, before it becomes valid, so that a crash in
 * between leaves a file that the next start replaces, and never a database whose only key nobody knows.
 */
export async function ensureAdminKey(
  runtime: Runtime,
  keep: (key: string) => Promise<void>,
): Promise<{ generated: string | null }> {
  const workspaceId = await ensureFirstWorkspace(runtime)
  await installConfiguredKey(runtime, workspaceId)
  if (runtime.config.adminApiKey) return { generated: null }
  if (isEmbedded(runtime)) return { generated: await generateFirstKey(runtime, workspaceId, keep) }
  const anyKey = await runtime.db.selectFrom('api_keys').select('id').where('revoked_at', 'is', null).limit(1).execute()
  if (anyKey.length === 0) {
    runtime.log.warn(
      'Nobody can sign in: there is no API key. Set ADMIN_API_KEY to "ak_srv_" and the output of `openssl rand -hex 32`, and start again.',
    )
  }
  return { generated: null }
}

/**
 * Makes the configured key the one owner key of the configuration. A key that the configuration named before is
 * revoked, not deleted, so that what it did stays attributable. A key that was revoked through the API stays revoked:
 * a restart must not bring a leaked key back.
 */
export async function installConfiguredKey(runtime: Runtime, workspaceId: string): Promise<void> {
  const token = runtime.config.adminApiKey?.reveal()
  if (token === undefined) return
  const hash = await hashKey(token)
  const scopes = jsonb(rolePermissions.owner)

  const outcome = await runtime.db.transaction().execute(async (tx) => {
    // Processes that start together take turns.
    await tx.selectFrom('workspaces').select('id').where('id', '=', workspaceId).forNoKeyUpdate().execute()
    const revoked = await tx
      .updateTable('api_keys')
      .set({ revoked_at: sql<Date>`app_now()` })
      .where('workspace_id', '=', workspaceId)
      .where('created_by', '=', keyOfConfiguration)
      .where('hash', '!=', hash)
      .where('revoked_at', 'is', null)
      .returning('id')
      .execute()
    await revokeInvitationsBy(
      tx,
      workspaceId,
      revoked.map(({ id }) => `key:${id}`),
    )
    const installed = await tx
      .insertInto('api_keys')
      .values({
        id: uuidv7(),
        workspace_id: workspaceId,
        name: 'Admin key of the configuration',
        kind: 'server',
        prefix: keyPrefix(token),
        hash,
        scopes,
        created_by: keyOfConfiguration,
      })
      // A key that the first start made becomes the configuration's. Newer versions bring new permissions.
      .onConflict((conflict) =>
        conflict
          .column('hash')
          .doUpdateSet({ scopes, created_by: keyOfConfiguration })
          .where('api_keys.workspace_id', '=', workspaceId),
      )
      .returning('revoked_at')
      .executeTakeFirst()
    return { revoked, installed }
  })
  for (const { id } of outcome.revoked) callerCacheOf(runtime).forget(id)
  if (outcome.revoked.length > 0) runtime.log.info('ADMIN_API_KEY has changed: the key it named before is revoked.')
  if (!outcome.installed) runtime.log.error('ADMIN_API_KEY belongs to another workspace already and was not installed.')
  else if (outcome.installed.revoked_at) runtime.log.warn('ADMIN_API_KEY names a key that was revoked. Set a new one.')
}

async function generateFirstKey(
  runtime: Runtime,
  workspaceId: string,
  keep: (key: string) => Promise<void>,
): Promise<string | null> {
  const anyKey = await runtime.db.selectFrom('api_keys').select('id').limit(1).execute()
  if (anyKey.length > 0) return null
  const token = formatKey('server', runtime.random(32))
  await keep(token)
  await runtime.db
    .insertInto('api_keys')
    .values({
      id: uuidv7(),
      workspace_id: workspaceId,
      name: 'Admin key of the first start',
      kind: 'server',
      prefix: keyPrefix(token),
      hash: await hashKey(token),
      scopes: jsonb(rolePermissions.owner),
      created_by: byFirstStart,
    })
    .execute()
  return token
}

/** The database is a folder of this machine, so whoever reads its files is its owner already. */
const isEmbedded = ({ platform, config }: Runtime) => platform !== 'workers' && config.databaseUrl === null
