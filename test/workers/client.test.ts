import { exports } from 'cloudflare:workers'
import { expect, inject, test } from 'vitest'
import { ApiError, createAutomatos, followExecution } from '../../clients/typescript/src/index.ts'
import './support/provided.ts'

const api = createAutomatos({
  baseUrl: 'http://localhost',
  apiKey: inject('workersAdminKey'),
  fetch: (input, init) => exports.default.fetch(input as Request, init as RequestInit),
})

test('the typed client starts a run and follows it to its end, on both sides inside workerd', async () => {
  const slug = `followed-${crypto.randomUUID().slice(0, 8)}`
  await api.createRecipe({ body: { name: 'Followed', slug, steps: [{ id: 'v', kind: 'transform', value: 1 }] } })
  const { data: run } = await api.executeRecipe({ path: { recipe: slug }, body: {} })
  const types = []
  for await (const { type } of followExecution(api, run.id)) types.push(type)
  expect(types[0]).toBe('execution.queued')
  expect(types.slice(-3)).toEqual(['step.started', 'step.succeeded', 'execution.succeeded'])

  const missing = await api.getRecipe({ path: { recipe: 'no-such-recipe' } }).catch((error: unknown) => error)
  expect(missing).toBeInstanceOf(ApiError)
  expect(missing).toMatchObject({ status: 404, kind: 'not-found' })
})
