import { createApp } from './app.ts'
import { createWorker } from './runtime/workers/worker.ts'
import { backgroundServices } from './services/background.ts'
import { runSlice } from './services/runs/index.ts'

const { fetch, scheduled, ...alarmWorkers } = createWorker({ createApp, backgroundServices, runSlice })

export const RunDispatcher = alarmWorkers.RunDispatcher
export const ServiceClock = alarmWorkers.ServiceClock
export { KvShard } from './runtime/workers/kv-shard.ts'
export { LimiterShard } from './runtime/workers/limiter-shard.ts'
export default { fetch, scheduled }
