import { sql } from 'kysely'
import type { Runtime, ServiceContext } from '../../context.ts'
import { scopedTo } from '../../db/scope.ts'
import { userKeyContext } from '../../lib/sealing-context.ts'
import { providers, type Connection, type Provider } from './providers.ts'

const maxAnswerBytes = 50 * 1024 * 1024

type Context = Pick<ServiceContext, 'db' | 'config' | 'actor' | 'cipher' | 'egress' | 'defer'>

/** Where a provider is reached with a key that is the workspace's own: as with ours, or at the address that the key has. */
export const ownBaseUrl = (provider: Provider, config: Runtime['config'], baseUrl: string | null): string | null =>
  baseUrl ?? provider.baseUrl(config)

/** The workspace's own access to a provider, which comes before the platform's; null where it has none. */
export async function ownConnection(ctx: Context, provider: Provider): Promise<Connection | null> {
  const { workspaceId } = ctx.actor
  const row = await scopedTo(ctx.db, workspaceId)
    .selectFrom('user_api_keys')
    .select(['id', 'base_url', 'sealed'])
    .select(sql<boolean>`coalesce(last_used_at < app_now() - interval '1 minute', true)`.as('use_unrecorded'))
    .where('workspace_id', '=', workspaceId)
    .where('provider', '=', provider.id)
    .executeTakeFirst()
  if (!row) return null
  const apiKey = await ctx.cipher.open(row.sealed, userKeyContext(workspaceId, row.id))
  if (row.use_unrecorded) ctx.defer(recordUse(ctx, row.id))
  return { baseUrl: ownBaseUrl(provider, ctx.config, row.base_url), apiKey, fetch: guardedFetch(ctx, undefined, true) }
}

/** Providers that the workspace has brought a key for, in the order of the table. */
export async function ownProviders({ db, actor }: Pick<Context, 'db' | 'actor'>): Promise<Provider[]> {
  const rows = await scopedTo(db, actor.workspaceId)
    .selectFrom('user_api_keys')
    .select('provider')
    .where('workspace_id', '=', actor.workspaceId)
    .execute()
  return providers.filter(({ id }) => rows.some((row) => row.provider === id))
}

/** A `fetch` for a server that a tenant has named or pays for: through the guard, and to nowhere else. */
export const guardedFetch =
  ({ egress, actor, config }: Pick<Context, 'egress' | 'actor' | 'config'>, credential?: string, confidential?: true) =>
  (input: string | URL | Request, init?: RequestInit): Promise<Response> =>
    egress(new Request(input, init), {
      workspaceId: actor.workspaceId,
      ...(credential === undefined ? { secrets: false as const } : { credential }),
      ...(confidential && { confidential }),
      ...(init?.signal && { signal: init.signal }),
      timeoutMs: config.modelTimeoutS * 1000,
      maxResponseBytes: maxAnswerBytes,
      maxRedirects: 0,
    })

async function recordUse({ db, actor }: Context, id: string): Promise<void> {
  await scopedTo(db, actor.workspaceId)
    .updateTable('user_api_keys')
    .set({ last_used_at: sql<Date>`app_now()` })
    .where('workspace_id', '=', actor.workspaceId)
    .where('id', '=', id)
    .execute()
}
