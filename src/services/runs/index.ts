export { requestCancel } from './commands.ts'
export { insertRuns, type NewRun } from './create-run.ts'
export { Engine } from './engine.ts'
export { followRun, type RunEvent } from './event-hub.ts'
export {
  engineOf,
  holdsService,
  inboxService,
  leasesService,
  recoveryService,
  runsService,
  stopEngine,
} from './services.ts'
export { runSlice } from './slice.ts'
export { startRun, type StartedRun } from './start-run.ts'
