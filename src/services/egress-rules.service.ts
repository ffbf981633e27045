import type { Selectable } from 'kysely'
import type { ServiceContext } from '../context.ts'
import { newestFirst } from '../db/keyset.ts'
import type { EgressRulesTable } from '../db/tables/vault.table.ts'
import { AppError } from '../lib/errors.ts'
import { entityTag, requireMatch } from '../lib/etag.ts'
import { isUuid, uuidv7 } from '../lib/ids.ts'
import { formatHostPattern, parseHostPattern } from '../lib/net/host-pattern.ts'
import { parseRange } from '../lib/net/ranges.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../lib/pagination.ts'
import { recordAudit } from './audit/record.ts'

export interface EgressRule {
  id: string
  action: 'allow' | 'deny'
  pattern: string
  note: string | null
  created_at: string
}

/** They are read with every request that leaves. */
const mostRules = 500

type Writer = Pick<ServiceContext, 'db' | 'actor' | 'requestId' | 'client'>

export async function createEgressRule(
  ctx: Writer,
  input: { action: 'allow' | 'deny'; pattern: string; note?: string | undefined },
): Promise<EgressRule> {
  const pattern = canonical(input.pattern)
  return ctx.db.transaction().execute(async (tx) => {
    const workspace = { workspace_id: ctx.actor.workspaceId }
    // One at a time counts: the row of the workspace is the lock.
    await tx.selectFrom('workspaces').select('id').where('id', '=', ctx.actor.workspaceId).forNoKeyUpdate().execute()
    const { count } = await tx
      .selectFrom('egress_rules')
      .select(({ fn }) => fn.countAll().as('count'))
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .executeTakeFirstOrThrow()
    if (Number(count) >= mostRules) throw new AppError('conflict', `A workspace has at most ${mostRules} rules.`)
    const row = await tx
      .insertInto('egress_rules')
      .values({ id: uuidv7(), ...workspace, action: input.action, pattern, note: input.note ?? null })
      .onConflict((conflict) => conflict.columns(['workspace_id', 'action', 'pattern']).doNothing())
      .returningAll()
      .executeTakeFirst()
    if (!row) throw new AppError('conflict', `There is a rule that says so of ${pattern} already.`)
    await recordAudit(tx, ctx, {
      action: 'egress_rule.created',
      target: { type: 'egress_rule', id: row.id },
      after: { action: row.action, pattern },
    })
    return toRule(row)
  })
}

export async function listEgressRules(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  page: PageRequest,
): Promise<Page<EgressRule>> {
  const query = db.selectFrom('egress_rules').selectAll().where('workspace_id', '=', actor.workspaceId)
  return toPage(await newestFirst(query, page).execute(), page.limit, byCreation, toRule)
}

export async function getEgressRule(ctx: Pick<ServiceContext, 'db' | 'actor'>, id: string): Promise<EgressRule> {
  return toRule(await findRow(ctx, id))
}

export async function deleteEgressRule(ctx: Writer, id: string, ifMatch: string | null): Promise<void> {
  await ctx.db.transaction().execute(async (tx) => {
    const rule = toRule(await findRow({ ...ctx, db: tx }, id, { lock: true }))
    requireMatch(ifMatch, egressRuleTag(rule))
    await tx
      .deleteFrom('egress_rules')
      .where('workspace_id', '=', ctx.actor.workspaceId)
      .where('id', '=', rule.id)
      .execute()
    await recordAudit(tx, ctx, {
      action: 'egress_rule.deleted',
      target: { type: 'egress_rule', id: rule.id },
      before: { action: rule.action, pattern: rule.pattern },
    })
  })
}

export const egressRuleTag = (rule: EgressRule): string => entityTag(rule)

/** One spelling, so that one rule is not there twice and none is there that matches nothing. */
function canonical(text: string): string {
  const host = text.includes('/') ? null : parseHostPattern(text)
  const pattern = host ? formatHostPattern(host) : parseRange(text)
  if (pattern !== null) return pattern
  const detail = 'must be a host, host:port, *.suffix, an address or a CIDR range'
  throw new AppError('invalid', `The pattern ${detail}.`, { errors: [{ pointer: '/pattern', detail }] })
}

async function findRow(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  id: string,
  { lock = false } = {},
): Promise<Selectable<EgressRulesTable>> {
  const row = isUuid(id)
    ? await db
        .selectFrom('egress_rules')
        .selectAll()
        .where('workspace_id', '=', actor.workspaceId)
        .where('id', '=', id)
        .$if(lock, (query) => query.forUpdate())
        .executeTakeFirst()
    : undefined
  if (!row) throw new AppError('not-found', `The rule ${id} does not exist.`)
  return row
}

const toRule = ({ id, action, pattern, note, created_at }: Selectable<EgressRulesTable>): EgressRule => ({
  id,
  action,
  pattern,
  note,
  created_at: created_at.toISOString(),
})
