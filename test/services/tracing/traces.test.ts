import { afterAll, beforeEach, expect, test } from 'vitest'
import { operation } from '../../../src/lib/operation.ts'
import { openTracing } from '../../../src/runtime/tracing/open-tracing.ts'
import { recoverRuns, wakeDueRuns } from '../../../src/services/runs/claim.ts'
import { Engine } from '../../../src/services/runs/engine.ts'
import { schedulesTick } from '../../../src/services/schedules/tick.ts'
import { createTestApp, testConfig } from '../../support/app.ts'
import { gate } from '../../support/engine.ts'
import { loopbackServer } from '../../support/loopback-server.ts'
import { startOtlpReceiver, type ReceivedSpan } from '../../support/otlp-receiver.ts'
import { startProviderServer } from '../../support/provider-server.ts'
import { createTestLog } from '../../support/log.ts'

const receiver = await startOtlpReceiver()
const provider = await startProviderServer()
const config = testConfig({
  otelExporterOtlpEndpoint: receiver.url,
  openaiCompatibleBaseUrl: provider.env['OPENAI_COMPATIBLE_BASE_URL']!,
  recipeSchedulerEnabled: true,
})
const log = createTestLog()
const tracing = openTracing({ config, platform: 'node', instance: 'test-instance', log })
const app = await createTestApp({ config, runtime: { tracing, log } })
afterAll(async () => {
  await tracing.close()
  await Promise.all([receiver.close(), provider.close()])
})
beforeEach(async () => {
  await tracing.flush()
  receiver.spans.length = 0
  log.lines.length = 0
})

/** Another process on the same database, with an engine of its own. */
const engine = (owner: string) => new Engine({ ...app.runtime, instance: owner }, { owner, concurrency: 10 })

async function advance(worker: Engine): Promise<void> {
  await worker.claim()
  await worker.idle()
  await tracing.flush()
}

const inbound = { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }
const traceparent = `00-${inbound.traceId}-${inbound.spanId}-01`

function spanOf(name: string): ReceivedSpan {
  const found = receiver.named(name)
  expect(found, `${name} among ${receiver.spans.map((span) => span.name).join(', ')}`).toHaveLength(1)
  return found[0]!
}

test('one trace goes from the request to the last step, over a wait and two processes', async () => {
  const target = await loopbackServer((_, response) =>
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}'),
  )
  const agent = await app.post('/api/agents', {
    name: 'Counter',
    slug: 'counter',
    model: { provider: 'openai-compatible', model: 'scripted', temperature: 0.5 },
    tools: ['calculator'],
  })
  expect(agent.status).toBe(201)
  const recipe = await app.post('/api/workflow-recipes', {
    name: 'Traced',
    slug: 'traced',
    steps: [
      {
        id: 'fetch',
        kind: 'http',
        request: { method: 'GET', url: `http://127.0.0.1:${target.port}/hook/secret-path?key=hidden` },
      },
      { id: 'pause', kind: 'wait', duration: '10m' },
      { id: 'think', kind: 'agent', agent: 'counter', prompt: 'How much is it?' },
    ],
  })
  expect(recipe.status).toBe(201)
  const started = await app.post('/api/workflow-recipes/traced/execute', { input_data: {} }, { traceparent })
  expect(started.status).toBe(202)
  const { execution_id: runId } = (await started.json()) as { execution_id: string }

  await advance(engine('first'))
  await app.database.shiftClock({ seconds: 601 })
  await wakeDueRuns(app.db, 10)
  provider.script({ kind: 'answer', calls: [{ id: 'c1', name: 'calculator', args: '{"expression":"2+2"}' }] })
  await advance(engine('second'))
  expect(await (await app.get(`/api/executions/${runId}`)).json()).toMatchObject({ status: 'succeeded' })

  const ours = receiver.spans.filter((span) => span.traceId === inbound.traceId)
  const parentOf = (span: ReceivedSpan) => ours.find((each) => each.spanId === span.parentSpanId)
  const request = spanOf('POST /api/workflow-recipes/{recipe}/execute')
  expect(request).toMatchObject({ parentSpanId: inbound.spanId, kind: 'server', isError: false })
  expect(request.attributes).toMatchObject({
    'http.request.method': 'POST',
    'http.route': '/api/workflow-recipes/{recipe}/execute',
    'http.response.status_code': 202,
    'automatos.request.id': started.headers.get('x-request-id'),
  })
  const run = spanOf('run Traced')
  expect(run).toMatchObject({ traceId: inbound.traceId, parentSpanId: request.spanId, isError: false })
  expect(run.attributes).toMatchObject({ 'automatos.run.id': runId, 'automatos.run.state': 'succeeded' })

  const slices = ours.filter((span) => span.name === 'run.slice')
  expect(
    slices.map((slice) => [slice.attributes['automatos.instance'], slice.attributes['automatos.run.outcome']]),
  ).toEqual([
    ['first', 'waiting'],
    ['second', 'succeeded'],
  ])
  expect(slices.every((slice) => slice.parentSpanId === run.spanId)).toBe(true)
  expect(run.startMs).toBeLessThanOrEqual(slices[0]!.startMs)
  expect(run.endMs).toBeGreaterThanOrEqual(slices[1]!.endMs)

  expect(parentOf(spanOf('http fetch'))).toBe(slices[0])
  expect(parentOf(spanOf('agent think'))).toBe(slices[1])
  expect(receiver.named('wait pause').map((span) => span.attributes['automatos.step.status'])).toEqual([
    'parked',
    'succeeded',
  ])
  const sent = spanOf('GET')
  expect(sent.attributes).toEqual({
    'http.request.method': 'GET',
    'server.address': '127.0.0.1',
    'server.port': target.port,
    'http.response.status_code': 200,
  })
  expect(parentOf(sent)).toBe(spanOf('http fetch'))
  expect(target.seen[0]!.headers['traceparent']).toBe(`00-${inbound.traceId}-${sent.spanId}-01`)

  const think = spanOf('agent think')
  expect(think.attributes).toMatchObject({ 'gen_ai.operation.name': 'invoke_agent', 'gen_ai.agent.name': 'counter' })
  const rounds = ours.filter((span) => span.name === 'chat scripted')
  expect(rounds).toHaveLength(2)
  expect(rounds[0]).toMatchObject({ kind: 'client', parentSpanId: think.spanId })
  expect(rounds[0]!.attributes).toMatchObject({
    'gen_ai.operation.name': 'chat',
    'gen_ai.provider.name': 'openai-compatible',
    'gen_ai.request.model': 'scripted',
    'gen_ai.request.temperature': 0.5,
    'gen_ai.usage.input_tokens': 1000,
    'gen_ai.usage.output_tokens': 50,
    'gen_ai.response.finish_reasons': ['tool-calls'],
  })
  expect(rounds[0]!.attributes).toHaveProperty('gen_ai.response.model')
  const tool = spanOf('execute_tool calculator')
  expect(tool.attributes).toMatchObject({ 'gen_ai.tool.name': 'calculator', 'gen_ai.tool.call.id': 'c1' })
  expect(tool.parentSpanId).toBe(think.spanId)

  // Every span but the request's hangs on another one that arrived.
  expect(ours.filter((span) => span !== request && !parentOf(span))).toEqual([])
  // Neither prompts nor paths nor queries.
  expect(JSON.stringify(receiver.spans)).not.toMatch(/How much is it|secret-path|hidden/)
  expect(run.resource).toMatchObject({
    'service.name': 'automatos-orchestrator',
    'service.instance.id': 'test-instance',
  })
})

test('a run that another process takes over goes on in the same trace, and the first hold is told as lost', async () => {
  const asked = gate()
  const answer = gate()
  let requests = 0
  const target = await loopbackServer((_, response) => {
    requests += 1
    if (requests > 1) return void response.end()
    asked.open()
    void answer.opened.then(() => response.end())
  })
  await app.post('/api/workflow-recipes', {
    name: 'Taken',
    slug: 'taken',
    steps: [{ id: 'slow', kind: 'http', request: { method: 'GET', url: `http://127.0.0.1:${target.port}/` } }],
  })
  await app.post('/api/workflow-recipes/taken/execute', { input_data: {} }, { traceparent })
  const frozen = engine('frozen')
  await frozen.claim()
  await asked.opened
  await app.database.shiftClock({ seconds: 700 })
  expect(await recoverRuns(app.db, 10)).toBe(1)
  await advance(engine('heir'))
  answer.open()
  await frozen.idle()
  await tracing.flush()
  const run = spanOf('run Taken')
  const slices = receiver.named('run.slice').filter((slice) => slice.parentSpanId === run.spanId)
  expect(
    slices.map(({ traceId, attributes }) => [
      traceId,
      attributes['automatos.instance'],
      attributes['automatos.run.outcome'],
    ]),
  ).toEqual([
    [inbound.traceId, 'heir', 'succeeded'],
    [inbound.traceId, 'frozen', 'lost'],
  ])
})

test('a slot that fires begins a trace that its run carries on', async () => {
  const recipe = await app.post('/api/workflow-recipes', {
    name: 'Ticked',
    slug: 'ticked',
    cron_schedule: '* * * * *',
    steps: [{ id: 'only', kind: 'transform', value: 1 }],
  })
  expect(recipe.status).toBe(201)
  await app.database.shiftClock({ seconds: 3600 })
  await schedulesTick(app.runtime)
  await advance(engine('scheduled'))
  const fired = receiver.named('schedule.fire').at(-1)!
  expect(fired.parentSpanId).toBeNull()
  expect(fired.kind).toBe('producer')
  const run = receiver.spans.find((span) => span.name === 'run Ticked' && span.traceId === fired.traceId)!
  expect(run.parentSpanId).toBe(fired.spanId)
  const step = receiver.spans.find((span) => span.name === 'transform only' && span.traceId === fired.traceId)
  expect(step).toBeDefined()
})

test('each attempt of a step that is tried again has its span, and a failed run is marked', async () => {
  const target = await loopbackServer((_, response) => response.writeHead(503).end())
  await app.post('/api/workflow-recipes', {
    name: 'Unlucky',
    slug: 'unlucky',
    steps: [
      {
        id: 'call',
        kind: 'http',
        request: { method: 'GET', url: `http://127.0.0.1:${target.port}/` },
        retry: { max_attempts: 2, backoff: '1ms', max_delay: '1ms' },
      },
    ],
  })
  await app.post('/api/workflow-recipes/unlucky/execute', { input_data: {} })
  await advance(engine('unlucky'))
  const step = spanOf('http call')
  expect(step).toMatchObject({ isError: true })
  expect(step.attributes['error.type']).toBe('http-status')
  for (const attempt of [1, 2]) {
    expect(spanOf(`attempt ${attempt}`)).toMatchObject({ parentSpanId: step.spanId, isError: true })
  }
  expect(spanOf('run Unlucky').attributes).toMatchObject({
    'error.type': 'http-status',
    'automatos.run.state': 'failed',
  })
})

test('lines that are logged within a span name its trace', async () => {
  await app.post('/api/workflow-recipes', {
    name: 'Telling',
    slug: 'telling',
    steps: [{ id: 'stop', kind: 'fail', message: 'Enough.' }],
    settings: { on_failure: { log: true } },
  })
  await app.post('/api/workflow-recipes/telling/execute', { input_data: {} }, { traceparent })
  await advance(engine('telling'))
  const line = log.lines.find(({ message }) => message === 'A run has failed.')
  expect(line?.fields).toMatchObject({ trace_id: inbound.traceId, span_id: receiver.named('run.slice').at(-1)!.spanId })
})

test('what a handler logs names the trace and the request, and a server error marks its span', async () => {
  const told = operation(
    {
      operationId: 'tell',
      method: 'get',
      path: '/',
      summary: 'Tells',
      access: 'authenticated',
      responses: { 200: { description: 'Never' } },
    },
    ({ log: own }) => {
      own.info('Within the request.')
      throw new Error('a-message-that-stays-in-the-log')
    },
  )
  const groups = [{ prefix: '/api/tell', tag: 'Tell', description: 'Tells.', operations: [told] }]
  const telling = await createTestApp({ config, database: app.database, groups, runtime: { tracing, log } })
  const response = await telling.get('/api/tell', { traceparent })
  expect(response.status).toBe(500)
  await tracing.flush()
  const span = spanOf('GET /api/tell')
  expect(span).toMatchObject({ isError: true, parentSpanId: inbound.spanId })
  expect(span.attributes['error.type']).toBe('500')
  for (const message of ['Within the request.', 'A request failed unexpectedly.']) {
    expect(log.lines.find((line) => line.message === message)?.fields).toMatchObject({
      trace_id: inbound.traceId,
      span_id: span.spanId,
      request_id: response.headers.get('x-request-id'),
    })
  }
  expect(JSON.stringify(receiver.spans)).not.toContain('a-message-that-stays-in-the-log')
})

test('a run that began without a trace has one, the same for every process', async () => {
  await app.post('/api/workflow-recipes', {
    name: 'Older',
    slug: 'older',
    steps: [
      { id: 'pause', kind: 'wait', duration: '10m' },
      { id: 'last', kind: 'transform', value: 1 },
    ],
  })
  const started = await app.post('/api/workflow-recipes/older/execute', { input_data: {} })
  const { execution_id: runId } = (await started.json()) as { execution_id: string }
  await app.db.updateTable('runs').set({ trace_context: null }).where('id', '=', runId).execute()
  await advance(engine('one'))
  await app.database.shiftClock({ seconds: 7200 })
  await wakeDueRuns(app.db, 10)
  await advance(engine('two'))
  const run = spanOf('run Older')
  expect(run).toMatchObject({ traceId: runId.replaceAll('-', ''), parentSpanId: null })
  const slices = receiver.named('run.slice').filter((slice) => slice.attributes['automatos.run.id'] === runId)
  expect(slices.map((slice) => slice.parentSpanId)).toEqual([run.spanId, run.spanId])
})

test('a run that is canceled while nobody holds it has its span all the same', async () => {
  await app.post('/api/workflow-recipes', {
    name: 'Halted',
    slug: 'halted',
    steps: [{ id: 'pause', kind: 'wait', duration: '10m' }],
  })
  const started = await app.post('/api/workflow-recipes/halted/execute', { input_data: {} }, { traceparent })
  const { execution_id: runId } = (await started.json()) as { execution_id: string }
  expect((await app.post(`/api/executions/${runId}/cancel`, {})).status).toBeLessThan(300)
  await tracing.flush()
  const run = spanOf('run Halted')
  expect(run).toMatchObject({ traceId: inbound.traceId, isError: false })
  expect(run.attributes['automatos.run.state']).toBe('canceled')
  expect(run.parentSpanId).toBe(spanOf('POST /api/workflow-recipes/{recipe}/execute').spanId)
})

test('a caller who does not sample gets no spans, and neither does the run', async () => {
  await app.post('/api/workflow-recipes', {
    name: 'Quiet',
    slug: 'quiet',
    steps: [{ id: 'only', kind: 'transform', value: 1 }],
  })
  await tracing.flush()
  receiver.spans.length = 0
  const unsampled = traceparent.replace(/01$/, '00')
  const response = await app.post('/api/workflow-recipes/quiet/execute', { input_data: {} }, { traceparent: unsampled })
  expect(response.status).toBe(202)
  await advance(engine('quiet'))
  expect(receiver.spans).toEqual([])
})
