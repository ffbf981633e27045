import { expect, test } from 'vitest'
import { createTestApp } from '../support/app.ts'

const { signIn } = await createTestApp()

interface ExecutionPage {
  items: { id: string; status: string; created_at: string }[]
  next_cursor: string | null
}

test('pages through executions newest first, each once, with the filters kept', async () => {
  const client = await signIn()
  const recipe = await client.post('/api/workflow-recipes', {
    name: 'Paged',
    steps: [{ id: 'only', kind: 'transform', value: 1 }],
  })
  expect(recipe.status).toBe(201)
  const { id: recipeId } = (await recipe.json()) as { id: string }
  const started: string[] = []
  for (let i = 0; i < 5; i += 1) {
    const response = await client.post(`/api/workflow-recipes/${recipeId}/execute`, { input_data: {} })
    expect(response.status).toBe(202)
    started.push(((await response.json()) as { execution_id: string }).execution_id)
  }

  const seen: ExecutionPage['items'] = []
  let cursor: string | null = ''
  while (cursor !== null) {
    const query: string = `recipe_id=${recipeId}&status=queued&limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`
    const page = (await (await client.get(`/api/executions?${query}`)).json()) as ExecutionPage
    seen.push(...page.items)
    cursor = page.next_cursor
  }
  expect(seen.map(({ id }) => id).toSorted()).toEqual(started.toSorted())
  const byTime = seen.toSorted((a, b) => b.created_at.localeCompare(a.created_at) || (a.id < b.id ? 1 : -1))
  expect(seen).toEqual(byTime)
})

test('another workspace sees none of them, and a cursor that no list has given is a fault', async () => {
  const stranger = await signIn()
  expect(await (await stranger.get('/api/executions')).json()).toEqual({ items: [], next_cursor: null })
  const response = await stranger.get('/api/executions?cursor=bm9uc2Vuc2U')
  expect(response.status).toBe(422)
  expect(await response.json()).toMatchObject({ errors: [{ pointer: '/query/cursor' }] })
})
