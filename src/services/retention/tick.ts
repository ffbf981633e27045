import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { DatabaseAway } from '../../lib/database-away.ts'
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

const kinds: ((runtime: Runtime) => Promise<TickReport>)[] = [
  expireRuns,
  expireWorkflows,
  expireReplays,
  expireDeleted,
  expireUsage,
  expireLedger,
  expireBackfills,
  expireLogs,
  purgeSpentTokens,
  expireCredentialUses,
  expireAlerts,
]

/** Deletes what the workspaces have kept long enough, a bounded batch of each kind at a time, on any number of processes at once. */
export const retentionService: BackgroundService = {
  name: 'retention',
  periodMs: 5 * 60_000,
  async tick(runtime) {
    let done = 0
    let more = false
    const errors: unknown[] = []
    for (const expire of kinds) {
      try {
        const report = await expire(runtime)
        done += report.done
        more ||= report.more
      } catch (error) {
        // One kind that fails holds up no other; a database that is away would be away for each of them.
        if (error instanceof DatabaseAway) throw error
        errors.push(error)
      }
    }
    if (errors.length === 0) return { done, more }
    // The first is told by whoever ticks.
    for (const error of errors.slice(1)) runtime.log.error('What is over could not be deleted.', { error })
    throw errors[0]
  },
}
