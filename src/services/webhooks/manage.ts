import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { newestFirst } from '../../db/keyset.ts'
import { AppError } from '../../lib/errors.ts'
import { requireMatch } from '../../lib/etag.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { requirePermission } from '../../lib/require-permission.ts'
import { loadRecipeForRun } from '../recipes.service.ts'
import { changesOf, recordAudit, type AuditContext } from '../audit/record.ts'
import { lockRecipe } from '../schedules/recipe-input.ts'
import { requireRoom } from '../workspaces/require-room.ts'
import { newSecret, overlapOf, type Rotation } from '../subscriptions/rotation.ts'
import { hasPrevious, openSecrets, sealSecret } from '../subscriptions/secrets.ts'
import { curlFor } from './curl.ts'
import { checkSettings, completeAuth, defaults, type WebhookSettings } from './settings.ts'
import { changeWebhook, findWebhook, lockWebhook } from './store.ts'
import { toWebhook, webhookTag, type Webhook } from './view.ts'

type Context = Pick<ServiceContext, 'db' | 'config'> & AuditContext
type SealingContext = Context & Pick<ServiceContext, 'cipher' | 'random'>

/** What is told once: at creation, and of a new secret. */
export type WebhookWithSecret = Webhook & { secret: string; curl: string }
/** Of a workspace: each may start as many executions as its own limit lets it. */
const mostWebhooks = 100

interface Target {
  id: string
  ifMatch?: string | null
}

export async function createWebhook(
  ctx: SealingContext,
  input: WebhookSettings & { recipe_id: string; secret?: string | undefined },
): Promise<WebhookWithSecret> {
  requirePermission(ctx, 'recipes:execute')
  const auth = completeAuth(input.auth)
  checkSettings(input, input.secret, auth)
  const recipe = await loadRecipeForRun(ctx.db, ctx.actor.workspaceId, input.recipe_id)
  if (!recipe) throw new AppError('not-found', `Recipe ${input.recipe_id} does not exist.`)
  const secret = input.secret ?? newSecret(ctx.random)
  const holder = { id: uuidv7(), workspace_id: ctx.actor.workspaceId }
  const sealed = await sealSecret(ctx.cipher, 'webhooks', holder, secret)
  const row = await ctx.db.transaction().execute(async (tx) => {
    // It may have gone since it was read.
    await lockRecipe(tx, ctx, recipe.id)
    await requireRoom(tx, ctx.actor.workspaceId, { table: 'webhooks', most: mostWebhooks, noun: 'webhooks' })
    const made = await tx
      .insertInto('webhooks')
      .values({
        ...holder,
        recipe_id: recipe.id,
        name: input.name ?? recipe.slug,
        auth: jsonb(auth),
        secret: sealed,
        filter: input.filter ?? null,
        input: input.input_mapping ? jsonb(input.input_mapping) : null,
        event_id_header: input.event_id_header?.toLowerCase() ?? null,
        rate_limit: input.rate_limit ?? defaults.rateLimit,
        max_body_bytes: input.max_body_bytes ?? defaults.maxBodyBytes,
        active: input.active ?? true,
        priority: input.priority ?? null,
        tells_output: mayTell(ctx),
      })
      .returningAll()
      .returning(hasPrevious)
      .executeTakeFirstOrThrow()
    const after = audited(toWebhook(made, ctx.config.apiUrl))
    await recordAudit(tx, ctx, { action: 'webhook.created', target: targetOf(made), after })
    return made
  })
  return withSecret(toWebhook(row, ctx.config.apiUrl), secret)
}

/** A webhook tells its senders no more than each of those who made and changed it may read. */
const mayTell = ({ actor }: Context) => actor.permissions.has('executions:read')

export async function listWebhooks({ db, actor, config }: Context, page: PageRequest): Promise<Page<Webhook>> {
  const all = db.selectFrom('webhooks').selectAll().select(hasPrevious).where('workspace_id', '=', actor.workspaceId)
  const rows = await newestFirst(all, page).execute()
  return toPage(rows, page.limit, byCreation, (row) => toWebhook(row, config.apiUrl))
}

export async function getWebhook(ctx: Context, id: string): Promise<Webhook> {
  return toWebhook(await findWebhook(ctx.db, ctx, id), ctx.config.apiUrl)
}

/** What is not given stays. A way of authentication that the secret does not fit is refused. */
export async function updateWebhook(
  ctx: Context & Pick<ServiceContext, 'cipher'>,
  { id, ifMatch = null, ...input }: WebhookSettings & Target,
): Promise<Webhook> {
  requirePermission(ctx, 'recipes:execute')
  const { apiUrl } = ctx.config
  return ctx.db.transaction().execute(async (tx) => {
    const row = await lockWebhook(tx, ctx, id)
    requireMatch(ifMatch, webhookTag(toWebhook(row, apiUrl)))
    const auth = input.auth === undefined ? row.auth : completeAuth(input.auth)
    const [secret] = input.auth === undefined ? [undefined] : await openSecrets(ctx.cipher, 'webhooks', row)
    checkSettings(input, secret, auth)
    const changed = await changeWebhook(tx, row, {
      ...(input.name !== undefined && { name: input.name }),
      ...(input.auth !== undefined && { auth: jsonb(auth) }),
      ...(input.filter !== undefined && { filter: input.filter }),
      ...(input.input_mapping !== undefined && {
        input: input.input_mapping === null ? null : jsonb(input.input_mapping),
      }),
      ...(input.event_id_header !== undefined && { event_id_header: input.event_id_header?.toLowerCase() ?? null }),
      ...(input.rate_limit !== undefined && { rate_limit: input.rate_limit }),
      ...(input.max_body_bytes !== undefined && { max_body_bytes: input.max_body_bytes }),
      ...(input.active !== undefined && { active: input.active }),
      ...(input.priority !== undefined && { priority: input.priority }),
      tells_output: row.tells_output && mayTell(ctx),
    })
    const change = changesOf(audited(toWebhook(row, apiUrl)), audited(toWebhook(changed, apiUrl)))
    await recordAudit(tx, ctx, { action: 'webhook.updated', target: targetOf(row), ...change })
    return toWebhook(changed, apiUrl)
  })
}

const targetOf = ({ id }: { id: string }) => ({ type: 'webhook', id })
function audited(webhook: Webhook): Omit<Webhook, 'updated_at'> {
  const { updated_at: _, ...settings } = webhook
  return settings
}

/** Its executions stay; its log of deliveries goes with it. */
export async function deleteWebhook(ctx: Context, { id, ifMatch = null }: Target): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const row = await lockWebhook(tx, ctx, id)
    requireMatch(ifMatch, webhookTag(toWebhook(row, ctx.config.apiUrl)))
    await tx.deleteFrom('webhooks').where('id', '=', row.id).where('workspace_id', '=', ctx.actor.workspaceId).execute()
    const before = { recipe_id: row.recipe_id, name: row.name }
    await recordAudit(tx, ctx, { action: 'webhook.deleted', target: targetOf(row), before })
  })
}

/** Until the overlap ends senders may use either secret. */
export async function rotateWebhookSecret(
  ctx: SealingContext,
  { id, ifMatch = null, ...rotation }: Rotation & Target,
): Promise<WebhookWithSecret> {
  requirePermission(ctx, 'recipes:execute')
  const overlapMs = overlapOf(rotation)
  const secret = rotation.secret ?? newSecret(ctx.random)
  const { apiUrl } = ctx.config
  return ctx.db.transaction().execute(async (tx) => {
    const row = await lockWebhook(tx, ctx, id)
    requireMatch(ifMatch, webhookTag(toWebhook(row, apiUrl)))
    checkSettings({}, rotation.secret, row.auth)
    const changed = await changeWebhook(tx, row, {
      secret: await sealSecret(ctx.cipher, 'webhooks', row, secret),
      previous_secret: row.secret,
      tells_output: row.tells_output && mayTell(ctx),
      previous_until: sql<Date>`app_now() + ${overlapMs}::double precision * interval '1 millisecond'`,
    })
    await recordAudit(tx, ctx, { action: 'webhook.secret_rotated', target: targetOf(row) })
    return withSecret(toWebhook(changed, apiUrl), secret)
  })
}

const withSecret = (webhook: Webhook, secret: string): WebhookWithSecret => ({
  ...webhook,
  secret,
  curl: curlFor(webhook.url, webhook.auth, secret),
})
