import type { BackgroundService } from '../context.ts'
import type { Config } from '../config.ts'
import { budgetsService } from './budgets/tick.ts'
import { auditService } from './audit/tick.ts'
import { filesService } from './files.service.ts'
import { heartbeatService } from './heartbeat.service.ts'
import { noticesService } from './notify/failure-notices.ts'
import { privacyService } from './privacy/tick.ts'
import { replaysService } from './replays/tick.ts'
import { retentionService } from './retention.service.ts'
import { childEndsService } from './runs/child-ends.ts'
import { holdsService, inboxService, leasesService, recoveryService, runsService } from './runs/index.ts'
import { alertsService } from './schedules/alerts-service.ts'
import { backfillsService } from './schedules/backfill-pass.ts'
import { schedulesService } from './schedules/tick.ts'
import { settingsService } from './settings/refresh.ts'
import { eventsService } from './signals/events-tick.ts'
import { webhooksService } from './webhook-subscriptions.service.ts'
import { expiryService } from './webhooks.service.ts'
import { workflowsService } from './workflows/tick.ts'
import { tenancyService } from './workspaces/purge.ts'

/** Every background service that the configuration switches on. */
export function backgroundServices(config: Config): BackgroundService[] {
  return [
    runsService,
    leasesService,
    inboxService,
    recoveryService,
    holdsService,
    childEndsService,
    budgetsService,
    eventsService,
    workflowsService,
    noticesService,
    webhooksService,
    expiryService,
    filesService,
    retentionService,
    auditService,
    settingsService,
    privacyService,
    replaysService,
    tenancyService,
    ...(config.recipeSchedulerEnabled ? [schedulesService, backfillsService, alertsService] : []),
    // The last one: on Workers it tells how the others of the same sweep fared.
    ...(config.heartbeatEnabled ? [heartbeatService] : []),
  ]
}
