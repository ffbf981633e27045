import { sql, type Kysely } from 'kysely'
import type { Log, Runtime } from '../context.ts'
import type { Database } from '../db/database.ts'
import { scopedTo } from '../db/scope.ts'
import { uuidv7 } from '../lib/ids.ts'
import type { CredentialUse } from './egress.ts'

const batchMs = 50
const mostWaiting = 5_000
const chunk = 500

/**
 * Uses of credentials, written in batches beside the requests that made them. What is waiting is deferred work: a process
 * that ends properly, and the request of a Worker, waits for it. Uses that are alike are one row with a count.
 */
export function createUsageLog({
  db,
  defer,
  log,
}: {
  db: Kysely<Database>
  defer: Runtime['defer']
  log: Log
}): (use: CredentialUse) => void {
  let waiting = new Map<string, { use: CredentialUse; count: number }>()
  let lost = 0

  return (use) => {
    const key = JSON.stringify([
      use.workspaceId,
      use.credentialId,
      use.host,
      use.outcome,
      use.status,
      use.runId,
      use.step,
      use.agentId,
      use.tool,
    ])
    const same = waiting.get(key)
    if (same) same.count++
    else if (waiting.size >= mostWaiting) lost++
    else waiting.set(key, { use, count: 1 })
    if (waiting.size === 1 && !same) defer(new Promise((resolve) => setTimeout(resolve, batchMs)).then(write))
  }

  async function write(): Promise<void> {
    const batch = [...waiting.values()]
    waiting = new Map()
    if (lost > 0) log.warn('Uses of credentials were not written: too many at once', { lost })
    lost = 0
    for (const workspaceId of new Set(batch.map(({ use }) => use.workspaceId))) {
      const uses = batch.filter(({ use }) => use.workspaceId === workspaceId)
      try {
        await insert(scopedTo(db, workspaceId), workspaceId, uses)
      } catch (error) {
        log.error('Uses of credentials could not be written', { workspace_id: workspaceId, uses: uses.length, error })
      }
    }
  }
}

async function insert(
  db: Kysely<Database>,
  workspaceId: string,
  uses: { use: CredentialUse; count: number }[],
): Promise<void> {
  for (let at = 0; at < uses.length; at += chunk) {
    await db
      .insertInto('credential_uses')
      .values(
        uses.slice(at, at + chunk).map(({ use, count }) => ({
          id: uuidv7(),
          workspace_id: workspaceId,
          credential_id: use.credentialId,
          host: use.host.slice(0, 300),
          outcome: use.outcome,
          status: use.status,
          run_id: use.runId ?? null,
          step: use.step ?? null,
          agent_id: use.agentId ?? null,
          tool: use.tool ?? null,
          count,
        })),
      )
      .execute()
  }
  await db
    .updateTable('credentials')
    .set({ last_used_at: sql<Date>`app_now()` })
    .where('workspace_id', '=', workspaceId)
    .where('id', 'in', [...new Set(uses.map(({ use }) => use.credentialId))])
    // Exact to the minute: a busy credential's row is not written all the time.
    .where(sql<boolean>`coalesce(last_used_at < app_now() - interval '1 minute', true)`)
    .execute()
}
