import { sql, type Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { newestFirst } from '../../db/keyset.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { requireMatch } from '../../lib/etag.ts'
import { uuidv7 } from '../../lib/ids.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { loadRecipeForRun } from '../recipes.service.ts'
import { changesOf, recordAudit, type AuditContext } from '../audit/record.ts'
import { requireRoom } from '../workspaces/require-room.ts'
import { eventTypes } from './event-types.ts'
import { checkStandardSecret, newSecret, overlapOf, type Rotation } from './rotation.ts'
import { sealSecret } from './secrets.ts'
import { changeSubscription, findSubscription, lockSubscription } from './store.ts'
import { appNow, subscriptionTag, toSubscription, withPrevious, type Subscription } from './view.ts'

type Context = Pick<ServiceContext, 'db'> & AuditContext
type SealingContext = Context & Pick<ServiceContext, 'cipher' | 'random'>

/** Each one costs every event of the workspace a row. */
const mostSubscriptions = 100

export interface SubscriptionSettings {
  name?: string | undefined
  url?: string | undefined
  events?: string[] | undefined
  recipe_id?: string | null | undefined
  active?: boolean | undefined
}
export type NewSubscription = SubscriptionSettings & { url: string; secret?: string | undefined }
interface Target {
  id: string
  ifMatch?: string | null
}

/** The answer holds the secret, this once. */
export async function createSubscription(
  ctx: SealingContext,
  input: NewSubscription,
): Promise<Subscription & { secret: string }> {
  check(input)
  if (input.secret !== undefined) checkStandardSecret(input.secret, '/secret')
  const secret = input.secret ?? newSecret(ctx.random)
  const holder = { id: uuidv7(), workspace_id: ctx.actor.workspaceId }
  const sealed = await sealSecret(ctx.cipher, 'webhook_subscriptions', holder, secret)
  const row = await ctx.db.transaction().execute(async (tx) => {
    const recipeId = await recipeIdOf(tx, ctx, input.recipe_id)
    await requireRoom(tx, ctx.actor.workspaceId, {
      table: 'webhook_subscriptions',
      most: mostSubscriptions,
      noun: 'webhook subscriptions',
    })
    const made = await tx
      .insertInto('webhook_subscriptions')
      .values({
        ...holder,
        recipe_id: recipeId ?? null,
        name: input.name ?? new URL(input.url).host,
        url: input.url,
        events: jsonb(input.events ?? ['*']),
        secret: sealed,
        active: input.active ?? true,
      })
      .returningAll()
      .returning(withPrevious)
      .executeTakeFirstOrThrow()
    const after = audited(toSubscription(made))
    await recordAudit(tx, ctx, { action: 'webhook_subscription.created', target: targetOf(made), after })
    return made
  })
  return { ...toSubscription(row), secret }
}

export async function listSubscriptions({ db, actor }: Context, page: PageRequest): Promise<Page<Subscription>> {
  const all = db
    .selectFrom('webhook_subscriptions')
    .selectAll()
    .select(withPrevious)
    .where('workspace_id', '=', actor.workspaceId)
  return toPage(await newestFirst(all, page).execute(), page.limit, byCreation, toSubscription)
}

export async function getSubscription(ctx: Context, id: string): Promise<Subscription> {
  return toSubscription(await findSubscription(ctx.db, ctx, id))
}

/** What is not given stays. Switching it on again sends what was held back and forgets how long it had failed. */
export async function updateSubscription(
  ctx: Context,
  { id, ifMatch = null, ...input }: SubscriptionSettings & Target,
): Promise<Subscription> {
  check(input)
  return ctx.db.transaction().execute(async (tx) => {
    const row = await lockSubscription(tx, ctx, id)
    requireMatch(ifMatch, subscriptionTag(toSubscription(row)))
    const recipeId = await recipeIdOf(tx, ctx, input.recipe_id)
    const active = input.active ?? row.active
    const changed = await changeSubscription(tx, row, {
      ...(input.name !== undefined && { name: input.name }),
      ...(input.url !== undefined && { url: input.url }),
      ...(input.events !== undefined && { events: jsonb(input.events) }),
      ...(recipeId !== undefined && { recipe_id: recipeId }),
      active,
      ...(input.active === true && { disabled_reason: null, failures: 0, failing_since: null, retry_at: null }),
    })
    if (active !== row.active) {
      await tx
        .updateTable('webhook_deliveries')
        .set({ next_attempt_at: active ? appNow : null })
        .where('subscription_id', '=', row.id)
        .where('status', '=', 'pending')
        .execute()
    }
    const change = changesOf(audited(toSubscription(row)), audited(toSubscription(changed)))
    await recordAudit(tx, ctx, { action: 'webhook_subscription.updated', target: targetOf(row), ...change })
    return toSubscription(changed)
  })
}

const targetOf = ({ id }: { id: string }) => ({ type: 'webhook_subscription', id })
const audited = ({ id, name, url, events, recipe_id, active }: Subscription) => ({
  id,
  name,
  url,
  events,
  recipe_id,
  active,
})

export async function deleteSubscription(ctx: Context, { id, ifMatch = null }: Target): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const row = await lockSubscription(tx, ctx, id)
    requireMatch(ifMatch, subscriptionTag(toSubscription(row)))
    await tx
      .deleteFrom('webhook_subscriptions')
      .where('id', '=', row.id)
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .execute()
    const before = audited(toSubscription(row))
    await recordAudit(tx, ctx, { action: 'webhook_subscription.deleted', target: targetOf(row), before })
  })
}

/** Until the overlap ends messages carry the signatures of both secrets, so that a receiver can change at its leisure. */
export async function rotateSubscriptionSecret(
  ctx: SealingContext,
  { id, ifMatch = null, ...rotation }: Rotation & Target,
): Promise<Subscription & { secret: string }> {
  const overlapMs = overlapOf(rotation)
  if (rotation.secret !== undefined) checkStandardSecret(rotation.secret, '/secret')
  const secret = rotation.secret ?? newSecret(ctx.random)
  return ctx.db.transaction().execute(async (tx) => {
    const row = await lockSubscription(tx, ctx, id)
    requireMatch(ifMatch, subscriptionTag(toSubscription(row)))
    const changed = await changeSubscription(tx, row, {
      secret: await sealSecret(ctx.cipher, 'webhook_subscriptions', row, secret),
      previous_secret: row.secret,
      previous_until: sql<Date>`app_now() + ${overlapMs}::double precision * interval '1 millisecond'`,
    })
    await recordAudit(tx, ctx, { action: 'webhook_subscription.secret_rotated', target: targetOf(row) })
    return { ...toSubscription(changed), secret }
  })
}

function check({ url, events }: SubscriptionSettings): void {
  const faults: Fault[] = []
  if (url !== undefined) {
    const parsed = URL.canParse(url) ? new URL(url) : null
    if (!parsed || !/^https?:$/.test(parsed.protocol) || parsed.username !== '' || parsed.password !== '')
      faults.push({ pointer: '/url', detail: 'must be an http or https address without a user' })
  }
  events?.forEach((type, index) => {
    if (type !== '*' && !eventTypes.includes(type))
      faults.push({ pointer: `/events/${index}`, detail: `must be * or one of ${eventTypes.join(', ')}` })
  })
  if (faults.length > 0) throw new AppError('invalid', 'The subscription has faults.', { errors: faults })
}

async function recipeIdOf(
  db: Kysely<Database>,
  { actor }: Context,
  recipe: string | null | undefined,
): Promise<string | null | undefined> {
  if (recipe === undefined || recipe === null) return recipe
  const found = await loadRecipeForRun(db, actor.workspaceId, recipe)
  if (!found) throw new AppError('not-found', `Recipe ${recipe} does not exist.`)
  return found.id
}
