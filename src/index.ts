import { createApp } from './app.ts'
import { createWorker } from './runtime/workers/worker.ts'
import { backgroundServices } from './services/background.ts'
import { runSlice } from './services/runs/index.ts'
import { refreshStaleSettings } from './services/settings/refresh.ts'

const parts = { createApp, backgroundServices, refreshStaleSettings, runSlice }
const { fetch, scheduled, ...alarmWorkers } = createWorker(parts)

export const RunDispatcher = alarmWorkers.RunDispatcher
export const ServiceClock = alarmWorkers.ServiceClock
export { KvShard } from './runtime/workers/kv-shard.ts'
export { LimiterShard } from './runtime/workers/limiter-shard.ts'
export default { fetch, scheduled }
