import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { isUniqueViolation } from '../../db/unique-violation.ts'
import { canonicalJson } from '../../lib/canonical.ts'
import { AppError } from '../../lib/errors.ts'
import { requireMatch } from '../../lib/etag.ts'
import { isUuid, uuidv7 } from '../../lib/ids.ts'
import { numberedSlug, slugOf } from '../../lib/slug.ts'
import { sql, type Transaction } from 'kysely'
import { changesOf, recordAudit, type AuditContext } from '../audit/record.ts'
import { agentTag, toAgent, type Agent, type AgentLimits } from './agent.ts'
import { claimRoom } from '../workspaces/limits.ts'
import { agentNotFound, getAgent } from './find.ts'
import { checkAgentFields, type AgentFields } from './input.ts'

type Context = Pick<ServiceContext, 'db'> & AuditContext

/** Names tried for an agent whose slug is made from its name. */
const maxSlugTries = 100

export type NewAgent = Pick<AgentFields, 'name'> & Partial<AgentFields>

/** A slug that the caller chose and that is taken is a conflict; one made from the name gets a number. */
export async function createAgent(ctx: Context, input: NewAgent): Promise<Agent> {
  checkAgentFields(input)
  const made = slugOf(input.name, 'agent')
  for (let n = 1; n <= (input.slug === undefined ? maxSlugTries : 1); n++) {
    const agent = await insertAgent(ctx, { ...input, slug: input.slug ?? numberedSlug(made, n) })
    if (agent) return agent
  }
  throw slugTaken(input.slug ?? made)
}

function insertAgent(ctx: Context, input: NewAgent & { slug: string }): Promise<Agent | null> {
  return ctx.db.transaction().execute(async (tx) => {
    await claimRoom(tx, ctx.actor.workspaceId, 'agents')
    const row = await tx
      .insertInto('agents')
      .values({
        id: uuidv7(),
        workspace_id: ctx.actor.workspaceId,
        slug: input.slug,
        name: input.name,
        description: input.description ?? null,
        system_prompt: input.system_prompt ?? null,
        model: input.model ? jsonb(input.model) : null,
        tools: jsonb(input.tools ?? []),
        limits: jsonb(input.limits ?? {}),
        deleted_at: null,
      })
      .onConflict((conflict) => conflict.columns(['workspace_id', 'slug']).where('deleted_at', 'is', null).doNothing())
      .returningAll()
      .executeTakeFirst()
    if (!row) return null
    const agent = toAgent(row)
    await recordAudit(tx, ctx, { action: 'agent.created', target: targetOf(agent), after: agent })
    return agent
  })
}

const targetOf = ({ id }: Agent) => ({ type: 'agent', id })

/** In a change, a limit that is null is removed. */
export type AgentChanges = Partial<Omit<AgentFields, 'limits'>> & {
  limits?: { [K in keyof AgentLimits]?: AgentLimits[K] | null } | undefined
}

/** A merge: what is not named stays. `model` and `tools` are replaced as a whole, limits one by one. */
export async function updateAgent(
  ctx: Context,
  ref: string,
  changes: AgentChanges,
  ifMatch: string | null = null,
): Promise<Agent> {
  const { limits: limitChanges, ...given } = changes
  const limits = limitChanges && withoutNulls(limitChanges)
  checkAgentFields({ ...given, ...(limits && { limits }) })
  return ctx.db.transaction().execute(async (tx) => {
    const current = await lockAgent(tx, ctx, ref)
    requireMatch(ifMatch, agentTag(current))
    const merged = { ...current.limits, ...limitChanges }
    const next: Agent = { ...current, ...defined(given), limits: withoutNulls(merged) }
    if (canonicalJson(next) === canonicalJson(current)) return current
    if (next.slug !== current.slug) {
      const other = await tx
        .selectFrom('agents')
        .select('id')
        .where('workspace_id', '=', ctx.actor.workspaceId)
        .where('slug', '=', next.slug)
        .where('deleted_at', 'is', null)
        .executeTakeFirst()
      if (other) throw slugTaken(next.slug)
    }
    const updated = await tx
      .updateTable('agents')
      .set({
        slug: next.slug,
        name: next.name,
        description: next.description,
        system_prompt: next.system_prompt,
        model: next.model ? jsonb(next.model) : null,
        tools: jsonb(next.tools),
        limits: jsonb(next.limits),
        version: sql<number>`version + 1`,
        updated_at: sql<Date>`app_now()`,
      })
      .where('id', '=', current.id)
      .returningAll()
      .executeTakeFirstOrThrow()
      .catch((error: unknown) => {
        // Two changes raced for one slug: the look above saw neither.
        throw isUniqueViolation(error) ? slugTaken(next.slug) : error
      })
    const agent = toAgent(updated)
    await recordAudit(tx, ctx, { action: 'agent.updated', target: targetOf(agent), ...changesOf(current, agent) })
    return agent
  })
}

/** The row stays for the runs that name it; its slug is free again. */
export async function deleteAgent(ctx: Context, ref: string, ifMatch: string | null = null): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const current = await lockAgent(tx, ctx, ref)
    requireMatch(ifMatch, agentTag(current))
    await tx
      .updateTable('agents')
      .set({ deleted_at: sql<Date>`app_now()` })
      .where('id', '=', current.id)
      .execute()
    await recordAudit(tx, ctx, { action: 'agent.deleted', target: targetOf(current), before: { slug: current.slug } })
  })
}

async function lockAgent(tx: Transaction<Database>, { actor }: Pick<Context, 'actor'>, ref: string): Promise<Agent> {
  const row = await tx
    .selectFrom('agents')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .where(isUuid(ref) ? 'id' : 'slug', '=', ref)
    .where('deleted_at', 'is', null)
    .forUpdate()
    .executeTakeFirst()
  if (!row) throw agentNotFound(ref)
  return toAgent(row)
}

export async function cloneAgent(ctx: Context, ref: string, input: { name?: string; slug?: string }): Promise<Agent> {
  const { name, description, system_prompt, model, tools, limits } = await getAgent(ctx, ref)
  const copy = { name: input.name ?? `${name} (copy)`.slice(0, 200), description, system_prompt, model, tools, limits }
  return createAgent(ctx, { ...copy, ...(input.slug !== undefined && { slug: input.slug }) })
}

const slugTaken = (slug: string): AppError => new AppError('conflict', `There is an agent '${slug}' already.`)

const defined = <T extends object>(fields: T): T =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T

const withoutNulls = (limits: { [K in keyof AgentLimits]?: AgentLimits[K] | null }): AgentLimits =>
  Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== null && value !== undefined))
