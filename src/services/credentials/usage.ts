import { sql } from 'kysely'
import type { Runtime, ServiceContext, TickReport } from '../../context.ts'
import { newestFirst } from '../../db/keyset.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import { findRow } from './credential.ts'

export interface CredentialUsage {
  id: string
  used_at: string
  host: string
  outcome: string
  status: number | null
  run_id: string | null
  step: string | null
  agent_id: string | null
  tool: string | null
  count: number
}

export async function listCredentialUsage(
  ctx: Pick<ServiceContext, 'db' | 'actor'>,
  credential: string,
  page: PageRequest,
): Promise<Page<CredentialUsage>> {
  const { id } = await findRow(ctx, credential)
  const query = ctx.db
    .selectFrom('credential_uses')
    .selectAll()
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .where('credential_id', '=', id)
  const rows = await newestFirst(query, page).execute()
  return toPage(rows, page.limit, byCreation, (row) => ({
    id: row.id,
    used_at: row.created_at.toISOString(),
    host: row.host,
    outcome: row.outcome,
    status: row.status,
    run_id: row.run_id,
    step: row.step,
    agent_id: row.agent_id,
    tool: row.tool,
    count: row.count,
  }))
}

const batchSize = 1_000
const mostPerCredential = 10_000

/** Forgets uses of old, and of a busy credential those before its latest ones. */
export async function expireCredentialUses({ db, config }: Pick<Runtime, 'db' | 'config'>): Promise<TickReport> {
  const old = await sql`
    delete from credential_uses where id in (
      select id from credential_uses
      where created_at < app_now() - ${config.credentialUsageDays}::integer * interval '1 day'
      limit ${batchSize}::integer)`.execute(db)
  const { rows: busy } = await sql<{ workspace_id: string; credential_id: string }>`
    select workspace_id, credential_id from credential_uses
    group by workspace_id, credential_id having count(*) > ${mostPerCredential}::integer limit 20`.execute(db)
  const deleted = [old]
  for (const { workspace_id, credential_id } of busy) {
    const beyond = sql`
      delete from credential_uses where id in (
        select id from credential_uses
        where workspace_id = ${workspace_id}::text::uuid and credential_id = ${credential_id}::text::uuid
        order by created_at desc, id desc offset ${mostPerCredential}::integer limit ${batchSize}::integer)`
    deleted.push(await beyond.execute(db))
  }
  const counts = deleted.map(({ numAffectedRows }) => Number(numAffectedRows ?? 0))
  return { done: counts.reduce((sum, count) => sum + count, 0), more: counts.some((count) => count >= batchSize) }
}
