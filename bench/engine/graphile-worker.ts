import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import { serve } from './contender.ts'

// With its local queue and with completions in batches: graphile-worker's quickest way.

// Every job is a line of its log otherwise.
const logger = new Logger(() => (level, message) => {
  if (level === 'error') console.error(message)
})

await serve(async ({ url, inFlight, connections, finished }) => {
  const utils = await makeWorkerUtils({ connectionString: url, maxPoolSize: 1, logger })
  const runner = await run({
    connectionString: url,
    concurrency: inFlight,
    maxPoolSize: connections,
    noHandleSignals: true,
    logger,
    preset: { worker: { localQueue: { size: inFlight }, completeJobBatchDelay: 0 } },
    taskList: {
      nothing: async () => finished(1),
    },
  })
  return {
    async start(_work, count) {
      await utils.addJobs(Array.from({ length: count }, () => ({ identifier: 'nothing', payload: {} })))
    },
    // A job that is complete is a row that is gone.
    async settled() {
      let left = true
      while (left) {
        left = await utils.withPgClient(async (client) => {
          const { rows } = await client.query('select exists (select from graphile_worker._private_jobs) as left')
          return rows[0].left
        })
      }
    },
    async close() {
      await runner.stop()
      await utils.release()
    },
  }
})
