import type { BackgroundService } from '../../context.ts'
import { expireAlerts } from '../budgets/expire-alerts.ts'
import { expireCredentialUses } from '../credentials/usage.ts'
import { expireUsage } from '../models/expire-usage.ts'
import { expireReplays } from '../replays/expire.ts'
import { expireBackfills } from '../schedules/expire-backfills.ts'
import { purgeSpentTokens } from '../signing/tokens.ts'
import { expireLogs } from '../webhooks/expire.ts'
import { expireWorkflows } from '../workflows/expire.ts'
import { expireDeleted } from './expire-deleted.ts'
import { expireLedger } from './expire-ledger.ts'
import { expireRuns } from './expire-runs.ts'

/** Deletes what the workspaces have kept long enough, a bounded batch of each kind at a time, on any number of processes at once. */
export const retentionService: BackgroundService = {
  name: 'retention',
  periodMs: 5 * 60_000,
  async tick(runtime) {
    const reports = [
      await expireRuns(runtime),
      await expireWorkflows(runtime),
      await expireReplays(runtime),
      await expireDeleted(runtime),
      await expireUsage(runtime),
      await expireLedger(runtime),
      await expireBackfills(runtime),
      await expireLogs(runtime),
      await purgeSpentTokens(runtime),
      await expireCredentialUses(runtime),
      await expireAlerts(runtime),
    ]
    return { done: reports.reduce((sum, { done }) => sum + done, 0), more: reports.some(({ more }) => more) }
  },
}
