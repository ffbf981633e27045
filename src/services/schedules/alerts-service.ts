import type { BackgroundService, Runtime, TickReport } from '../../context.ts'
import { deliverAlerts } from './deliver-alerts.ts'
import { markOverdue } from './pings.ts'

/** Finds out who has been silent for too long, and tells those who want to know of their schedules. */
export async function alertsTick(runtime: Runtime): Promise<TickReport> {
  const overdue = await markOverdue(runtime.db)
  const { done, more } = await deliverAlerts(runtime)
  return { done: overdue + done, more }
}

export const alertsService: BackgroundService = {
  name: 'schedule-alerts',
  periodMs: 5000,
  tick: alertsTick,
}
