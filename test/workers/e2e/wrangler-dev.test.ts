import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startWrangler, type Wrangler } from '../../../src/cli/dev/wrangler.ts'
import { startOtlpReceiver, type OtlpReceiver } from '../../support/otlp-receiver.ts'
import { apiClient } from '../support/api.ts'
import { openTestInstallation, type TestInstallation } from '../support/installation.ts'

let installation: TestInstallation
let wrangler: Wrangler
let api: ReturnType<typeof apiClient>
let receiver: OtlpReceiver
const log: string[] = []

beforeAll(async () => {
  installation = await openTestInstallation()
  receiver = await startOtlpReceiver()
  const variables = join(installation.folder, 'worker.env')
  const settings = {
    ENVIRONMENT: 'test',
    LOG_LEVEL: 'warn',
    CREDENTIAL_ENCRYPTION_KEY: installation.keyRing,
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
  }
  await writeFile(
    variables,
    Object.entries(settings)
      .map(([name, value]) => `${name}="${value}"\n`)
      .join(''),
  )
  wrangler = await startWrangler({
    port: 0,
    databaseUrl: installation.databaseUrl,
    stateFolder: join(installation.folder, 'wrangler'),
    variables,
    log: (text) => log.push(text),
  })
  api = apiClient((path, init) => fetch(wrangler.address + path, init), installation.adminKey)
})
afterAll(async () => {
  await wrangler?.stop()
  await installation?.close()
  await receiver?.close()
})

const steps = [
  { id: 'before', kind: 'transform', value: { n: 20 } },
  { id: 'nap', kind: 'wait', duration: '20s' },
  { id: 'after', kind: 'transform', value: { $expr: 'steps.before.output.n + 1' } },
]
const output = { $expr: 'steps.after.output' }

// Nothing calls the scheduled handler meanwhile, so only an alarm can end the wait.
test('a wait of 20 seconds is ended by its alarm', { timeout: 90_000 }, async () => {
  await api.createRecipe({ name: 'Nap', slug: 'nap', steps, output })
  const id = await api.execute('nap')
  await expect.poll(async () => (await api.execution(id)).status, { timeout: 20_000 }).toBe('waiting')
  await expect.poll(async () => (await api.execution(id)).status, { timeout: 60_000, interval: 500 }).toBe('succeeded')
  const run = await api.execution(id)
  expect(run.output).toBe(21)
  expect(Date.parse(run.finished_at) - Date.parse(run.started_at)).toBeGreaterThanOrEqual(20_000)
})

test(
  'the trace of that run arrived whole: from the request, over the alarms, to its last step',
  { timeout: 30_000 },
  async () => {
    const run = await receiver.arrived((span) => span.name === 'run Nap')
    const ours = receiver.spans.filter((span) => span.traceId === run.traceId)
    const request = ours.find((span) => span.spanId === run.parentSpanId)
    expect(request).toMatchObject({ name: 'POST /api/workflow-recipes/{recipe}/execute', kind: 'server' })
    const slices = ours.filter((span) => span.name === 'run.slice')
    expect(slices.map((slice) => slice.attributes['automatos.run.outcome'])).toEqual(['waiting', 'succeeded'])
    expect(slices.every((slice) => slice.parentSpanId === run.spanId)).toBe(true)
    expect(ours.find((span) => span.name === 'transform after')?.parentSpanId).toBe(slices[1]!.spanId)
    expect(run.endMs - run.startMs).toBeGreaterThanOrEqual(20_000)
    expect(run.resource).toMatchObject({ 'automatos.platform': 'workers' })
  },
)

test('a schedule fires when the scheduled handler is called, and its run succeeds', { timeout: 60_000 }, async () => {
  const quick = [{ id: 'one', kind: 'transform', value: { $expr: '1 + 1' } }]
  const recipe = await api.createRecipe({
    name: 'Each second',
    slug: 'each-second',
    steps: quick,
    output: { $expr: 'steps.one.output' },
    cron_schedule: '* * * * * *',
  })
  const trigger = async () => {
    const response = await fetch(`${wrangler.address}/cdn-cgi/handler/scheduled?cron=*+*+*+*+*`)
    expect([response.status, await response.text()]).toEqual([200, 'ok'])
  }
  await expect
    .poll(
      async () => {
        await trigger()
        return (await api.executionsOf(recipe.id)).map((run) => [run.status, run.trigger.kind])
      },
      { timeout: 45_000, interval: 500 },
    )
    .toContainEqual(['succeeded', 'schedule'])
  await api.removeSchedule(recipe.slug)
})

test('neither handler nor alarm leaves an error in the log', () => {
  expect(
    log
      .join('')
      .split('\n')
      .filter((line) => /"level":"error"|Uncaught|unhandled/i.test(line)),
  ).toEqual([])
})
