import { afterAll, expect, test } from 'vitest'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { signMessage } from '../../../src/lib/standard-webhooks.ts'
import { openTracing } from '../../../src/runtime/tracing/open-tracing.ts'
import { Engine } from '../../../src/services/runs/engine.ts'
import { createTestApp, testConfig } from '../../support/app.ts'
import { createTestLog } from '../../support/log.ts'
import { startOtlpReceiver } from '../../support/otlp-receiver.ts'

const receiver = await startOtlpReceiver()
const config = testConfig({ otelExporterOtlpEndpoint: receiver.url })
const log = createTestLog()
const tracing = openTracing({ config, platform: 'node', instance: 'test-instance', log })
const app = await createTestApp({ config, runtime: { tracing, log } })
afterAll(async () => {
  await tracing.close()
  await receiver.close()
})

test('one trace goes from the sender of a webhook to the last step of the run that it starts', async () => {
  const steps = [{ id: 'last', kind: 'transform', value: 1 }]
  await app.post('/api/workflow-recipes', { name: 'Traced', slug: 'traced', steps })
  const hook = (await (await app.post('/api/webhooks', { recipe_id: 'traced' })).json()) as {
    id: string
    secret: string
  }
  const traceId = '0af7651916cd43dd8448eb211c80319c'
  const response = await app.app.request(`/api/webhooks/recipe/${hook.id}`, {
    method: 'POST',
    headers: {
      traceparent: `00-${traceId}-b7ad6b7169203331-01`,
      ...signMessage([hook.secret], { id: uuidv7(), timestampS: Math.floor(Date.now() / 1000), body: '{}' }),
    },
    body: '{}',
  })
  expect(response.status).toBe(202)
  const worker = new Engine({ ...app.runtime, instance: 'worker' }, { owner: 'worker', concurrency: 1 })
  await worker.claim()
  await worker.idle()
  await tracing.flush()
  const request = receiver.spans.find(({ name }) => name === 'POST /api/webhooks/recipe/{webhook}')
  const run = receiver.spans.find(({ name }) => name === 'run Traced')
  const step = receiver.spans.find(({ name }) => name === 'transform last')
  expect([request?.traceId, run?.traceId, step?.traceId]).toEqual([traceId, traceId, traceId])
  expect(request?.parentSpanId).toBe('b7ad6b7169203331')
  expect(run?.parentSpanId).toBe(request?.spanId)
  expect(run?.attributes).toMatchObject({ 'automatos.run.trigger': 'webhook' })
})
