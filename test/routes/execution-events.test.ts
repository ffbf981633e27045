import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { executionEventSchema } from '../../src/routes/execution-events.schemas.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp } from '../support/app.ts'

const services = join(import.meta.dirname, '../../src/services')
const known = new Set(executionEventSchema.options.map((option) => option.shape.type.value as string))

test('every type of event that the engine writes is described, and no other', () => {
  const written = new Set<string>()
  for (const entry of readdirSync(services, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    // What goes into the audit log has names of its own.
    const text = readFileSync(join(entry.parentPath, entry.name), 'utf8').replaceAll(/\baction: '[^']+'/g, '')
    for (const [, type] of text.matchAll(/'((?:execution|step|text|tool|approval)\.[a-z_]+)'/g)) written.add(type!)
    for (const [, type] of text.matchAll(/emit\('([a-z_.]+)'/g)) written.add(type!)
  }
  // Written with the state in a template.
  for (const state of ['failed', 'timed_out']) written.add(`execution.${state}`)
  // Written by the function of the database that gives slots.
  written.add('execution.blocked')
  expect([...written].toSorted()).toEqual([...known].toSorted())
})

test('what a stream sends is what the document says', async () => {
  const app = await createTestApp()
  const client = await app.signIn()
  const model = { provider: 'offline', model: 'offline' }
  await client.post('/api/agents', { name: 'Helper', slug: 'helper', model, tools: ['calculator'] })
  const made = await client.post('/api/workflow-recipes', {
    name: 'All kinds',
    slug: 'all-kinds',
    steps: [
      { id: 'skipped', kind: 'transform', value: 1, when: 'false' },
      { id: 'nap', kind: 'wait', duration: '1ms' },
      { id: 'each', kind: 'foreach', items: [1], as: 'x', steps: [{ id: 'item', kind: 'transform', value: 1 }] },
      {
        id: 'way',
        kind: 'branch',
        cases: [{ when: 'true', steps: [{ id: 'a', kind: 'transform', value: '{{ input.absent }}' }] }],
      },
      { id: 'ask', kind: 'agent', agent: 'helper', prompt: 'call calculator {"expression": "2+2"}' },
      {
        id: 'far',
        kind: 'http',
        request: { method: 'GET', url: 'http://127.0.0.1:9/' },
        retry: { max_attempts: 2, backoff: '1ms', retry_on: ['egress-blocked', 'egress', 'network'] },
        on_error: 'continue',
      },
      { id: 'end', kind: 'fail', message: 'Enough.' },
    ],
  })
  expect(await made.json()).toMatchObject({ slug: 'all-kinds' })
  const started = await client.post('/api/workflow-recipes/all-kinds/execute', {})
  const { id } = (await started.json()) as { id: string }
  await runsService.tick(app.runtime)
  await engineOf(app.runtime).idle()

  const text = await (await client.get(`/api/executions/${id}/events`)).text()
  const events = [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => JSON.parse(data!) as { type: string })
  for (const event of events) {
    const parsed = executionEventSchema.safeParse(event)
    expect(parsed.error?.issues ?? [], JSON.stringify(event)).toEqual([])
  }
  const seen = new Set(events.map(({ type }) => type))
  for (const type of ['step.skipped', 'step.waiting', 'tool.call', 'tool.result', 'usage', 'text.delta', 'step.failed'])
    expect(seen).toContain(type)
  expect(events.at(-1)).toMatchObject({ type: 'execution.failed' })
})
