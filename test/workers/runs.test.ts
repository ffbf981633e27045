import {
  createExecutionContext,
  createScheduledController,
  listDurableObjectIds,
  waitOnExecutionContext,
} from 'cloudflare:test'
import { env, exports } from 'cloudflare:workers'
import { sql } from 'kysely'
import { expect, inject, test } from 'vitest'
import worker from '../../src/index.ts'
import { openWorkerRuntime } from '../../src/runtime/workers/runtime.ts'
import { apiClient } from './support/api.ts'
import './support/provided.ts'

const api = apiClient((path, init) => exports.default.fetch(`http://localhost${path}`, init), inject('workersAdminKey'))
const slug = () => `recipe-${crypto.randomUUID().slice(0, 8)}`
const steps = [
  { id: 'first', kind: 'transform', value: { greeting: 'Hello {{ input.name }}' } },
  { id: 'second', kind: 'transform', value: { $expr: 'steps.first.output.greeting' } },
]
const output = { $expr: 'steps.second.output' }
const soon = { timeout: 15_000, interval: 100 }

test('an accepted run is advanced by the alarm of a dispatcher', async () => {
  const recipe = await api.createRecipe({ name: 'Greeting', slug: slug(), steps, output })
  const id = await api.execute(recipe.slug, { name: 'workerd' })
  await expect.poll(async () => (await api.execution(id)).status, soon).toBe('succeeded')
  expect((await api.execution(id)).output).toBe('Hello workerd')
  expect((await listDurableObjectIds(env.DISPATCHER)).length).toBeGreaterThan(0)
})

test('a run that waits holds nothing and is taken up by an alarm', async () => {
  const napping = [steps[0], { id: 'nap', kind: 'wait', duration: '1s' }, steps[1]]
  const recipe = await api.createRecipe({ name: 'Nap', slug: slug(), steps: napping, output })
  const id = await api.execute(recipe.slug, { name: 'again' })
  await expect.poll(async () => (await api.execution(id)).status, soon).toBe('succeeded')
  expect((await api.execution(id)).output).toBe('Hello again')
})

test('a cron minute starts a run whose wake-up was lost', async () => {
  const recipe = await api.createRecipe({ name: 'Lost', slug: slug(), steps, output })
  const id = await api.execute(recipe.slug, { name: 'x' })
  await expect.poll(async () => (await api.execution(id)).status, soon).toBe('succeeded')
  // As if nothing had been poked: a ready run in the table alone.
  const lost = crypto.randomUUID()
  const context = createExecutionContext()
  const { runtime, close } = openWorkerRuntime(env, (work) => context.waitUntil(work))
  await sql`insert into runs (id, workspace_id, recipe_id, recipe_version, definition, state, trigger, input)
    select ${lost}::text::uuid, workspace_id, recipe_id, recipe_version, definition, 'queued', trigger, input
    from runs where id = ${id}::text::uuid`.execute(runtime.db)
  await sql`insert into run_queue (run_id, workspace_id) select id, workspace_id from runs where id = ${lost}::text::uuid`.execute(
    runtime.db,
  )
  await close()
  const trigger = createExecutionContext()
  await worker.scheduled(createScheduledController(), env, trigger)
  await waitOnExecutionContext(trigger)
  await expect.poll(async () => (await api.execution(lost)).status, soon).toBe('succeeded')
})

test('the scheduled handler fires what is due', async () => {
  const recipe = await api.createRecipe({
    name: 'Each second',
    slug: slug(),
    steps,
    output,
    cron_schedule: '* * * * * *',
  })
  await expect
    .poll(async () => {
      const trigger = createExecutionContext()
      await worker.scheduled(createScheduledController(), env, trigger)
      await waitOnExecutionContext(trigger)
      return (await api.executionsOf(recipe.id)).some(
        ({ status, trigger: { kind } }) => status === 'succeeded' && kind === 'schedule',
      )
    }, soon)
    .toBe(true)
  await api.removeSchedule(recipe.slug)
})
