import { expect, test } from 'vitest'
import { signMessage } from '../../../src/lib/standard-webhooks.ts'
import { createTestApp } from '../../support/app.ts'

const app = await createTestApp()

test('copies of one event that come at once over many connections start one run', async () => {
  const steps = [{ id: 'one', kind: 'transform', value: 1 }]
  await app.post('/api/workflow-recipes', { name: 'Once', slug: 'once', steps })
  const hook = (await (await app.post('/api/webhooks', { recipe_id: 'once' })).json()) as { id: string; secret: string }
  const headers = signMessage([hook.secret], { id: 'evt-1', timestampS: Math.floor(Date.now() / 1000), body: '{}' })
  const send = () => app.app.request(`/api/webhooks/recipe/${hook.id}`, { method: 'POST', headers, body: '{}' })
  const answers = await Promise.all(Array.from({ length: 20 }, send))
  expect(answers.filter(({ status }) => status === 202)).toHaveLength(1)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(19)
  const bodies = await Promise.all(answers.map(async (answer) => (await answer.json()) as { execution_id: string }))
  expect(new Set(bodies.map((body) => body.execution_id)).size).toBe(1)
  expect(await app.db.selectFrom('runs').select('id').execute()).toHaveLength(1)
})
