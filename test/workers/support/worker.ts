import { alarmWorker, type Pass } from '../../../src/runtime/workers/alarm-worker.ts'
import { openWorkerRuntime } from '../../../src/runtime/workers/runtime.ts'

export { default, KvShard, LimiterShard, RunDispatcher, ServiceClock } from '../../../src/index.ts'

/** Passes by the name of their object: a test, which runs in the isolate of the Worker, says what its own does. */
export const probes = new Map<string, Pass>()

export const ProbeWorker = alarmWorker((runtime, owner, bindings) => {
  const pass = probes.get(owner)
  if (!pass) throw new Error('No test waits for this pass.')
  return pass(runtime, owner, bindings)
}, openWorkerRuntime)
