import { expect, test } from 'vitest'
import { engineOf, runsService, stopEngine } from '../../../src/services/runs/index.ts'
import { createTestApp } from '../../support/app.ts'

const { runtime, post } = await createTestApp()

test('a process told to stop before its first pass takes no run', async () => {
  const created = await post('/api/workflow-recipes', {
    name: 'One',
    steps: [{ id: 'one', kind: 'transform', value: 1 }],
  })
  const { slug } = (await created.json()) as { slug: string }
  const started = await post(`/api/workflow-recipes/${slug}/execute`, {})
  const { id } = (await started.json()) as { id: string }

  await stopEngine(runtime, 60_000)
  await runsService.tick(runtime)
  await engineOf(runtime).idle()

  const run = await runtime.db.selectFrom('runs').select('state').where('id', '=', id).executeTakeFirstOrThrow()
  expect(run.state).toBe('queued')
})
