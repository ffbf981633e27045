import { budgetEventTypes, executionEventTypes } from '../../lib/webhook-events.ts'
import { scheduleEventTypes } from '../schedules/alerts.ts'

/** What a workspace can subscribe to. `*` stands for all of it. */
export const eventTypes: readonly string[] = [...executionEventTypes, ...scheduleEventTypes, ...budgetEventTypes]
