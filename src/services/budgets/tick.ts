import type { BackgroundService } from '../../context.ts'
import { forgetLapsed, lapseBatch, lapseReservations } from './settle.ts'
import { tellAlerts, tellBatch } from './tell-alerts.ts'

/** Tells of thresholds that were reached, and takes back what calls have reserved that nobody will tell the end of. */
export const budgetsService: BackgroundService = {
  name: 'budgets',
  periodMs: 5_000,
  async tick(runtime) {
    const { db, log } = runtime
    const lapsed = await lapseReservations(db)
    if (lapsed > 0)
      log.warn('Model calls have not told what they cost: they count as what they had reserved.', { lapsed })
    const told = await tellAlerts(runtime)
    const forgotten = await forgetLapsed(db)
    return {
      done: lapsed + told + forgotten,
      more: lapsed === lapseBatch || told === tellBatch || forgotten === lapseBatch,
    }
  },
}
