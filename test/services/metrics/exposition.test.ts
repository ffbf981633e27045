import { readFile } from 'node:fs/promises'
import { afterAll, expect, test } from 'vitest'
import { Measures } from '../../../src/lib/metrics/measures.ts'
import { Counter } from '../../../src/lib/metrics/instruments.ts'
import { poolMetrics } from '../../../src/runtime/node/pool-metrics.ts'
import { processMetrics } from '../../../src/runtime/node/process-metrics.ts'
import { PostgresPool } from '../../../src/runtime/postgres-pool.ts'
import { createSupervisor } from '../../../src/runtime/supervisor.ts'
import { openTracing } from '../../../src/runtime/tracing/open-tracing.ts'
import { backgroundServices } from '../../../src/services/background.ts'
import { wakeDueRuns } from '../../../src/services/runs/claim.ts'
import { Engine } from '../../../src/services/runs/engine.ts'
import { schedulesTick } from '../../../src/services/schedules/tick.ts'
import { createTestApp, testConfig } from '../../support/app.ts'
import { parseExposition, type Family } from '../../support/exposition.ts'
import { startProviderServer } from '../../support/provider-server.ts'
import { createTestLog } from '../../support/log.ts'

const provider = await startProviderServer()
const config = testConfig({
  openaiCompatibleBaseUrl: provider.env['OPENAI_COMPATIBLE_BASE_URL']!,
  otelExporterOtlpEndpoint: 'http://127.0.0.1:9',
  otelTracesSampler: 'always_off',
})
const tracing = openTracing({ config, platform: 'node', instance: 'i', log: createTestLog() })
const process = processMetrics()
process.observeLag(1)
const measures = new Measures()
// Nothing asks it for a connection: it is here for its series.
const pool = new PostgresPool({ connect: () => Promise.reject(new Error('Nobody connects.')) as never, max: 10 })
const app = await createTestApp({
  config,
  runtime: { measures, tracing, collectors: [process.collector, tracing.collector, () => poolMetrics(pool)] },
})
// Its timers never run: it is here for its series.
const supervisor = createSupervisor(app.runtime, backgroundServices(config), () => () => {})
afterAll(async () => {
  await supervisor.stop()
  await provider.close()
})

const scrape = async (): Promise<Map<string, Family>> =>
  parseExposition(await (await app.app.request('/metrics')).text())
const valueOf = (families: Map<string, Family>, name: string, labels: Record<string, string> = {}, part = name) =>
  families
    .get(name)
    ?.samples.find(
      (sample) =>
        sample.name === part && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    )?.value

async function advance(owner: string): Promise<void> {
  const engine = new Engine(app.runtime, { owner, concurrency: 10 })
  await engine.claim()
  await engine.idle()
}

// One story for all: the figures of each test stand on what came before it.
test('runs, steps, models and tools are counted as they are', async () => {
  await app.post('/api/agents', {
    name: 'Counter',
    slug: 'counter',
    model: { provider: 'openai-compatible', model: 'scripted' },
    tools: ['calculator'],
  })
  await app.post('/api/workflow-recipes', {
    name: 'Measured',
    slug: 'measured',
    steps: [
      { id: 'first', kind: 'transform', value: 1 },
      { id: 'never', kind: 'transform', value: 1, when: 'false' },
      { id: 'pause', kind: 'wait', duration: '10m' },
      { id: 'think', kind: 'agent', agent: 'counter', prompt: 'How much?' },
      { id: 'stop', kind: 'fail', message: 'Enough.' },
    ],
  })
  await app.post('/api/workflow-recipes/measured/execute', { input_data: {} })
  const queued = await scrape()
  expect(valueOf(queued, 'automatos_runs_ready')).toBe(1)
  expect(valueOf(queued, 'automatos_runs_ready_oldest_seconds')).toBeGreaterThanOrEqual(0)

  await advance('one')
  await app.database.shiftClock({ seconds: 601 })
  await wakeDueRuns(app.db, 10)
  provider.script({ kind: 'answer', calls: [{ id: 'c1', name: 'calculator', args: '{"expression":"2+2"}' }] })
  await advance('two')

  const families = await scrape()
  expect(valueOf(families, 'automatos_runs_started_total', { trigger: 'api' })).toBe(1)
  expect(valueOf(families, 'automatos_runs_finished_total', { state: 'failed' })).toBe(1)
  expect(valueOf(families, 'automatos_runs_in_flight')).toBe(0)
  const waited = valueOf(families, 'automatos_run_duration_seconds', {}, 'automatos_run_duration_seconds_sum')
  expect(waited).toBeGreaterThanOrEqual(601)
  const steps = families
    .get('automatos_steps_total')!
    .samples.map(({ labels, value }) => [labels['kind'], labels['status'], value])
  expect(steps).toEqual([
    ['transform', 'succeeded', 1],
    ['transform', 'skipped', 1],
    ['wait', 'succeeded', 1],
    ['agent', 'succeeded', 1],
    ['fail', 'failed', 1],
  ])
  const model = { provider: 'openai-compatible', model: 'scripted' }
  expect(valueOf(families, 'automatos_model_calls_total', { ...model, status: 'ok' })).toBe(2)
  expect(valueOf(families, 'automatos_model_tokens_total', { ...model, type: 'input' })).toBe(2000)
  expect(valueOf(families, 'automatos_model_tokens_total', { ...model, type: 'output' })).toBe(100)
  // What the price is not known of is told as such, and not as free.
  expect(valueOf(families, 'automatos_model_calls_unpriced_total', model)).toBe(2)
  expect(valueOf(families, 'automatos_model_cost_usd_total', model)).toBeUndefined()
  expect(valueOf(families, 'automatos_tool_calls_total', { tool: 'calculator', status: 'ok' })).toBe(1)
})

test('a slot that fires late is seen in the lag', async () => {
  await app.post('/api/workflow-recipes', {
    name: 'Late',
    slug: 'late',
    cron_schedule: '0 * * * *',
    steps: [{ id: 'only', kind: 'transform', value: 1 }],
  })
  await app.db.updateTable('schedules').set({ grace_s: 86_400 }).execute()
  await app.database.shiftClock({ seconds: 601 + 3_600 })
  await schedulesTick(app.runtime)
  const families = await scrape()
  // An hour holds one full hour, or two where the clock has just turned.
  const fired = valueOf(families, 'automatos_schedule_slots_total', { status: 'fired' })
  expect(fired).toBeGreaterThanOrEqual(1)
  expect(valueOf(families, 'automatos_schedule_lag_seconds', {}, 'automatos_schedule_lag_seconds_count')).toBe(fired)
})

test('a label whose values tenants choose cannot grow without end', () => {
  const counter = new Counter('things_total', 'Things.', ['model'])
  for (let n = 0; n < 1000; n++) counter.add(1, `model ${n}`)
  const { samples } = counter.family()
  expect(samples).toHaveLength(201)
  expect(samples.find(({ labels }) => labels?.['model'] === 'other')?.value).toBe(800)
})

const read = (path: string) => readFile(new URL(`../../../${path}`, import.meta.url), 'utf8')
/** Names of ours within a query or a table. */
const namesIn = (text: string) =>
  new Set(
    text.match(/\b(?:automatos|http|process)_[a-z0-9_]+\b/g)?.map((name) => name.replace(/_(bucket|sum|count)$/, '')),
  )

test('the page lists every series that there is, with its type, and no other', async () => {
  const page = await read('docs/observability.md')
  const listed = [...page.matchAll(/^\| `([a-z_]+)` \| (\w+) \|/gm)].map(([, name, type]) => `${name} ${type}`)
  const present = [...(await scrape()).values()].map(({ name, type }) => `${name} ${type}`)
  expect(listed.toSorted()).toEqual(present.toSorted())
})

test.each(['docs/grafana-dashboard.json', 'docs/prometheus-alerts.yaml'])(
  '%s asks for nothing that does not exist',
  async (path) => {
    const present = new Set((await scrape()).keys())
    const text = await read(path)
    const expressions = path.endsWith('.json')
      ? [...text.matchAll(/"(?:expr|query|definition)": "((?:[^"\\]|\\.)*)"/g)].map((match) => match[1]!)
      : [...text.matchAll(/expr: (.+)/g)].map((match) => match[1]!)
    expect(expressions.length).toBeGreaterThan(5)
    const asked = [...namesIn(expressions.join('\n'))]
    expect(asked.filter((name) => !present.has(name))).toEqual([])
  },
)
