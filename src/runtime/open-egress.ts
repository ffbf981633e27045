import type { Kysely } from 'kysely'
import type { Egress, Kv, Runtime } from '../context.ts'
import type { Database } from '../db/database.ts'
import { scopedTo } from '../db/scope.ts'
import { createAllowList } from '../lib/net/host-pattern.ts'
import { recordAudit } from '../services/audit/record.ts'
import { credentialReader } from './credential-reader.ts'
import { createEgress, type EgressParts, type Refusal } from './egress.ts'
import type { EgressRules } from './egress/destination.ts'
import { createAccessTokens } from './oauth-tokens.ts'
import { createUsageLog } from './usage-log.ts'

type Parts = Pick<EgressParts, 'config' | 'fetch' | 'resolve' | 'log'> &
  Pick<Runtime, 'db' | 'cipher' | 'defer'> & { kv: Kv }

/** The guard as every platform has it: with the vault, the rules of workspaces, and what is told of both. */
export function openEgress({ db, cipher, kv, defer, ...parts }: Parts): Egress {
  const { log } = parts
  const egress: Egress = createEgress({
    ...parts,
    credentials: credentialReader(
      db,
      cipher,
      createAccessTokens({ db, cipher, defer, log, egress: (request, options) => egress(request, options) }),
    ),
    rules: (workspaceId) => rulesOf(db, workspaceId),
    onUse: createUsageLog({ db, defer, log }),
    onRefused: refusalLog({ db, kv, defer }),
  })
  return egress
}

/** Read anew with every request: a rule holds from its commit on, on every replica. */
export async function rulesOf(db: Kysely<Database>, workspaceId: string): Promise<EgressRules | null> {
  const rows = await scopedTo(db, workspaceId)
    .selectFrom('egress_rules')
    .select(['action', 'pattern'])
    .where('workspace_id', '=', workspaceId)
    .execute()
  if (rows.length === 0) return null
  const list = (action: 'allow' | 'deny') => rows.filter((row) => row.action === action).map(({ pattern }) => pattern)
  const allowed = list('allow')
  return { deny: createAllowList(list('deny')), allow: allowed.length > 0 ? createAllowList(allowed) : null }
}

/** Writes refusals into the workspace's audit log, after the request. */
export const refusalLog =
  ({ db, kv, defer }: Pick<Runtime, 'db' | 'defer'> & { kv: Kv }) =>
  (refusal: Refusal): void =>
    defer(tellRefusal({ db, kv }, refusal))

/** Of one workspace, whatever it tries: its log is not filled by a loop over made-up hosts. */
const mostAMinute = 60

/** At most once a minute for a host and a reason, over all that share a store. */
async function tellRefusal({ db, kv }: Pick<Runtime, 'db'> & { kv: Kv }, refusal: Refusal): Promise<void> {
  const { workspaceId, host, reason, runId, step, agentId, tool } = refusal
  if (!(await kv.setIfAbsent(`egress-refused:${workspaceId}:${reason}:${host.slice(0, 300)}`, '1', 60))) return
  if ((await kv.increment(`egress-refused:${workspaceId}`, 1, 60)) > mostAMinute) return
  const actor = { kind: 'system' as const, id: runId ?? 'egress', workspaceId, permissions: new Set<never>() }
  const by = { run_id: runId, step, agent_id: agentId, tool }
  const known = Object.fromEntries(Object.entries(by).flatMap(([name, value]) => (value ? [[name, value]] : [])))
  await scopedTo(db, workspaceId)
    .transaction()
    .execute((tx) =>
      recordAudit(
        tx,
        { actor },
        { action: 'egress.refused', target: { type: 'host', id: host }, after: { reason, ...known } },
      ),
    )
}
