import { expect, test } from 'vitest'
import { engineOf, runsService } from '../../../src/services/runs/index.ts'
import { schedulesTick } from '../../../src/services/schedules.service.ts'
import { createTestApp, type Client } from '../../support/app.ts'

const app = await createTestApp()
const { signIn, db, runtime } = app

async function work(): Promise<void> {
  await runsService.tick(runtime)
  await engineOf(runtime).idle()
}
async function execute(client: Client, steps: object[]): Promise<string> {
  const made = await client.post('/api/workflow-recipes', { name: 'One', steps })
  const { slug } = (await made.json()) as { slug: string }
  const started = await client.post(`/api/workflow-recipes/${slug}/execute`, {})
  return ((await started.json()) as { id: string }).id
}
const stateOf = async (id: string) =>
  (await db.selectFrom('runs').select('state').where('id', '=', id).executeTakeFirstOrThrow()).state
const one = { id: 'one', kind: 'transform', value: 1 }

test('while a workspace is paused none of its runs is taken up, and afterwards all are; others go on', async () => {
  const client = await signIn()
  const other = await signIn()
  const parked = await execute(client, [{ id: 'hold', kind: 'wait', duration: '1h' }, one])
  await work()
  await client.post('/api/workflows/pause')
  const queued = await execute(client, [one])
  const elsewhere = await execute(other, [one])
  await app.database.shiftClock({ seconds: 3601 })
  await work()
  expect([await stateOf(parked), await stateOf(queued), await stateOf(elsewhere)]).toEqual([
    'waiting',
    'queued',
    'succeeded',
  ])
  await client.post('/api/workflows/resume')
  await work()
  expect([await stateOf(parked), await stateOf(queued)]).toEqual(['succeeded', 'succeeded'])
  await app.database.shiftClock({ seconds: 0 })
})

test('what a schedule fires meanwhile is recorded and waits', async () => {
  const client = await signIn()
  const made = await client.post('/api/workflow-recipes', { name: 'Ticking', steps: [one], cron_schedule: '* * * * *' })
  const { id: recipeId } = (await made.json()) as { id: string }
  await client.post('/api/workflows/pause')
  await app.database.shiftClock({ seconds: 90 })
  await schedulesTick(runtime)
  await work()
  const runs = await db.selectFrom('runs').select('state').where('recipe_id', '=', recipeId).execute()
  expect(runs.map(({ state }) => state)).toEqual(['queued'])
  await client.post('/api/workflows/resume')
  await work()
  expect(await db.selectFrom('runs').select('state').where('recipe_id', '=', recipeId).execute()).toEqual([
    { state: 'succeeded' },
  ])
  await app.database.shiftClock({ seconds: 0 })
})
