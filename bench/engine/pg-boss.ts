import { PgBoss } from 'pg-boss'
import { serve } from './contender.ts'

// Taken and completed in batches of as many as are in flight, one batch behind the other without the pauses of a worker
// that polls: pg-boss's quickest way at a given number in flight.

const queue = 'bench'

await serve(async ({ url, inFlight, connections, finished }) => {
  const boss = new PgBoss({ connectionString: url, max: connections, schedule: false })
  boss.on('error', console.error)
  await boss.start()
  await boss.createQueue(queue)
  let working: Promise<void> | null = null
  const work = async () => {
    for (;;) {
      const jobs = await boss.fetch(queue, { batchSize: inFlight })
      if (jobs.length === 0) return
      await boss.complete(
        queue,
        jobs.map(({ id }) => id),
      )
      finished(jobs.length)
    }
  }
  return {
    async start(_work, count) {
      await boss.insert(
        queue,
        Array.from({ length: count }, () => ({ data: {} })),
      )
      await (working ??= work().finally(() => (working = null)))
    },
    close: () => boss.stop({ graceful: false }),
  }
})
