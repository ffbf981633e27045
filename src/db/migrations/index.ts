import { foundation } from './0001-foundation.ts'
import { runs } from './0002-runs.ts'
import { schedules } from './0003-schedules.ts'
import { users } from './0004-users.ts'
import { heartbeat } from './0005-heartbeat.ts'
import { traceContext } from './0006-trace-context.ts'
import { childrenOfRuns } from './0007-children-of-runs.ts'
import { webhooks } from './0008-webhooks.ts'
import { scheduleOperations } from './0009-schedule-operations.ts'
import { outside } from './0010-outside.ts'
import { files } from './0011-files.ts'
import { workflows } from './0012-workflows.ts'
import { runControl } from './0013-run-control.ts'
import { webhookGuards } from './0014-webhook-guards.ts'
import { runFamilies } from './0015-run-families.ts'
import { turns } from './0016-turns.ts'
import { engineTwo } from './0017-engine-two.ts'
import { concurrency } from './0019-concurrency.ts'
import { listsOfRuns } from './0020-lists-of-runs.ts'
import { noticesAndStreams } from './0021-notices-and-streams.ts'
import { tenancy } from './0022-tenancy.ts'
import { tokensAndSessions } from './0023-tokens-and-sessions.ts'
import { vault } from './0024-vault.ts'
import { budgets } from './0025-budgets.ts'
import { auditAndPrivacy } from './0026-audit-and-privacy.ts'
import { rowSecurity } from './0030-row-security.ts'
import { expiry } from './0031-expiry.ts'
import type { Migration } from './migration.ts'

const schema: readonly Migration[] = [
  foundation,
  runs,
  schedules,
  users,
  heartbeat,
  traceContext,
  childrenOfRuns,
  webhooks,
  scheduleOperations,
  outside,
  files,
  workflows,
  runControl,
  webhookGuards,
  runFamilies,
  turns,
  engineTwo,
  concurrency,
  listsOfRuns,
  noticesAndStreams,
  tenancy,
  tokensAndSessions,
  vault,
  budgets,
  auditAndPrivacy,
]

export const migrations: readonly Migration[] = [...schema, rowSecurity(schema), expiry]
