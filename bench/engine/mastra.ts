import { Mastra } from '@mastra/core/mastra'
import { createStep, createWorkflow } from '@mastra/core/workflows'
import { PostgresStore } from '@mastra/pg'
import { z } from 'zod'
import { inLanes, serve } from './contender.ts'

const schema = z.object({ ok: z.boolean() })
const step = (id: string) =>
  createStep({ id, inputSchema: schema, outputSchema: schema, execute: async () => ({ ok: true }) })

await serve(async ({ url, inFlight, connections, finished }) => {
  const workflow = createWorkflow({ id: 'three', inputSchema: schema, outputSchema: schema })
    .then(step('a'))
    .then(step('b'))
    .then(step('c'))
    .commit()
  const storage = new PostgresStore({ id: 'bench', connectionString: url, max: connections })
  const mastra = new Mastra({ storage, workflows: { three: workflow }, logger: false })
  await storage.init()
  const three = mastra.getWorkflow('three')
  return {
    start: (_work, count) =>
      inLanes(count, inFlight, async () => {
        const run = await three.createRun()
        const { status } = await run.start({ inputData: { ok: true } })
        if (status !== 'success') throw new Error(`A run of Mastra has ended as ${status}.`)
        finished(1)
      }),
    close: () => storage.close(),
  }
})
