import type { BackgroundService } from '../context.ts'
import type { Config } from '../config.ts'
import { filesService } from './files.service.ts'
import { heartbeatService } from './heartbeat.service.ts'
import { noticesService } from './notify/failure-notices.ts'
import { replaysService } from './replays/tick.ts'
import { retentionService } from './retention.service.ts'
import { childEndsService } from './runs/child-ends.ts'
import { holdsService, inboxService, leasesService, recoveryService, runsService } from './runs/index.ts'
import { alertsService } from './schedules/alerts-service.ts'
import { backfillsService } from './schedules/backfill-pass.ts'
import { schedulesService } from './schedules/tick.ts'
import { eventsService } from './signals/events-tick.ts'
import { webhooksService } from './webhook-subscriptions.service.ts'
import { expiryService } from './webhooks.service.ts'
import { workflowsService } from './workflows/tick.ts'

/** Every background service that the configuration switches on. */
export function backgroundServices(config: Config): BackgroundService[] {
  return [
    runsService,
    leasesService,
    inboxService,
    recoveryService,
    holdsService,
    childEndsService,
    eventsService,
    workflowsService,
    noticesService,
    webhooksService,
    expiryService,
    filesService,
    retentionService,
    replaysService,
    ...(config.recipeSchedulerEnabled ? [schedulesService, backfillsService, alertsService] : []),
    // The last one: on Workers it tells how the others of the same sweep fared.
    ...(config.heartbeatEnabled ? [heartbeatService] : []),
  ]
}
