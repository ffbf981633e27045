import { DBOS } from '@dbos-inc/dbos-sdk'
import { inLanes, serve } from './contender.ts'

// Started directly, which is DBOS's quickest way: without one of its queues, which are polled.

const steps = ['a', 'b', 'c']
const workflow = DBOS.registerWorkflow(
  async () => {
    for (const name of steps) await DBOS.runStep(async () => ({ ok: true }), { name })
    return { ok: true }
  },
  { name: 'three' },
)
const silent = { info() {}, debug() {}, warn: console.warn, error: console.error }

await serve(async ({ url, inFlight, connections, finished }) => {
  DBOS.setConfig({
    name: 'bench',
    systemDatabaseUrl: url,
    systemDatabasePoolSize: connections,
    logger: silent,
    // Two processes are two executors of one application.
    executorID: String(process.pid),
  })
  await DBOS.launch()
  return {
    start: (_work, count) =>
      inLanes(count, inFlight, async () => {
        const handle = await DBOS.startWorkflow(workflow)()
        await handle.getResult()
        finished(1)
      }),
    close: () => DBOS.shutdown(),
  }
})
