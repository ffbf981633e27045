export { heartbeatService, markInstance } from './heartbeat/beat.ts'
export { windows } from './heartbeat/figures.ts'
export { instanceStates, listInstances, listServices } from './heartbeat/read-instances.ts'
export { getHeartbeatStatus } from './heartbeat/read-status.ts'
