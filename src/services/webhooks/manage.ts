import { sql } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import { jsonb } from '../../db/json.ts'
import { newestFirst } from '../../db/keyset.ts'
import { AppError } from '../../lib/errors.ts'
import { requireMatch } from '../../lib/etag.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { loadRecipeForRun } from '../recipes.service.ts'
import { newSecret, overlapOf, type Rotation } from '../subscriptions/rotation.ts'
import { hasPrevious, openSecrets, sealSecret } from '../subscriptions/secrets.ts'
import { curlFor } from './curl.ts'
import { checkSettings, completeAuth, defaults, type WebhookSettings } from './settings.ts'
import { findWebhook, lockWebhook } from './store.ts'
import { toWebhook, webhookTag, type Webhook } from './view.ts'

type Context = Pick<ServiceContext, 'db' | 'actor' | 'config'>
type SealingContext = Context & Pick<ServiceContext, 'cipher' | 'random'>

/** What is told once: at creation, and of a new secret. */
export type WebhookWithSecret = Webhook & { secret: string; curl: string }
interface Target {
  id: string
  ifMatch?: string | null
}

export async function createWebhook(
  ctx: SealingContext,
  input: WebhookSettings & { recipe_id: string; secret?: string | undefined },
): Promise<WebhookWithSecret> {
  const auth = completeAuth(input.auth)
  checkSettings(input, input.secret, auth)
  const recipe = await loadRecipeForRun(ctx.db, ctx.actor.workspaceId, input.recipe_id)
  if (!recipe) throw new AppError('not-found', `Recipe ${input.recipe_id} does not exist.`)
  const secret = input.secret ?? newSecret(ctx.random)
  const holder = { id: uuidv7(), workspace_id: ctx.actor.workspaceId }
  const row = await ctx.db
    .insertInto('webhooks')
    .values({
      ...holder,
      recipe_id: recipe.id,
      name: input.name ?? recipe.slug,
      auth: jsonb(auth),
      secret: await sealSecret(ctx.cipher, 'webhooks', holder, secret),
      filter: input.filter ?? null,
      input: input.input_mapping ? jsonb(input.input_mapping) : null,
      event_id_header: input.event_id_header?.toLowerCase() ?? null,
      rate_limit: input.rate_limit ?? defaults.rateLimit,
      max_body_bytes: input.max_body_bytes ?? defaults.maxBodyBytes,
      active: input.active ?? true,
    })
    .returningAll()
    .returning(hasPrevious)
    .executeTakeFirstOrThrow()
  return withSecret(toWebhook(row, ctx.config.apiUrl), secret)
}

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
  const { apiUrl } = ctx.config
  return ctx.db.transaction().execute(async (tx) => {
    const row = await lockWebhook(tx, ctx, id)
    requireMatch(ifMatch, webhookTag(toWebhook(row, apiUrl)))
    const auth = input.auth === undefined ? row.auth : completeAuth(input.auth)
    const [secret] = input.auth === undefined ? [undefined] : await openSecrets(ctx.cipher, 'webhooks', row)
    checkSettings(input, secret, auth)
    const changed = await tx
      .updateTable('webhooks')
      .set({
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
        updated_at: sql<Date>`app_now()`,
      })
      .where('id', '=', row.id)
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .returningAll()
      .returning(hasPrevious)
      .executeTakeFirstOrThrow()
    return toWebhook(changed, apiUrl)
  })
}

/** Its executions stay; its log of deliveries goes with it. */
export async function deleteWebhook(ctx: Context, { id, ifMatch = null }: Target): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const row = await lockWebhook(tx, ctx, id)
    requireMatch(ifMatch, webhookTag(toWebhook(row, ctx.config.apiUrl)))
    await tx.deleteFrom('webhooks').where('id', '=', row.id).where('workspace_id', '=', ctx.actor.workspaceId).execute()
  })
}

/** Until the overlap ends senders may use either secret. */
export async function rotateWebhookSecret(
  ctx: SealingContext,
  { id, ifMatch = null, ...rotation }: Rotation & Target,
): Promise<WebhookWithSecret> {
  const overlapMs = overlapOf(rotation)
  const secret = rotation.secret ?? newSecret(ctx.random)
  const { apiUrl } = ctx.config
  return ctx.db.transaction().execute(async (tx) => {
    const row = await lockWebhook(tx, ctx, id)
    requireMatch(ifMatch, webhookTag(toWebhook(row, apiUrl)))
    checkSettings({}, rotation.secret, row.auth)
    const changed = await tx
      .updateTable('webhooks')
      .set({
        secret: await sealSecret(ctx.cipher, 'webhooks', row, secret),
        previous_secret: row.secret,
        previous_until: sql<Date>`app_now() + ${overlapMs}::double precision * interval '1 millisecond'`,
        updated_at: sql<Date>`app_now()`,
      })
      .where('id', '=', row.id)
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .returningAll()
      .returning(hasPrevious)
      .executeTakeFirstOrThrow()
    return withSecret(toWebhook(changed, apiUrl), secret)
  })
}

const withSecret = (webhook: Webhook, secret: string): WebhookWithSecret => ({
  ...webhook,
  secret,
  curl: curlFor(webhook.url, webhook.auth, secret),
})
