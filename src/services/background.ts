import type { BackgroundService } from '../context.ts'
import type { Config } from '../config.ts'
import { heartbeatService } from './heartbeat.service.ts'
import { inboxService, leasesService, recoveryService, runsService } from './runs/index.ts'
import { schedulesService } from './schedules/tick.ts'

/** Every background service that the configuration switches on. */
export function backgroundServices(config: Config): BackgroundService[] {
  return [
    runsService,
    leasesService,
    inboxService,
    recoveryService,
    ...(config.recipeSchedulerEnabled ? [schedulesService] : []),
    // The last one: on Workers it tells how the others of the same sweep fared.
    ...(config.heartbeatEnabled ? [heartbeatService] : []),
  ]
}
