import { afterAll, describe, expect, test } from 'vitest'
import type { ServiceContext } from '../../../src/context.ts'
import { jsonb } from '../../../src/db/json.ts'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { agentStats, createAgent, deleteAgent, getAgent, updateAgent } from '../../../src/services/agents.service.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
const { db } = database
afterAll(() => database.close())

describe('agents', () => {
  test('made at the same time under one name get a slug each', async () => {
    const ctx = await createServiceContext(database)
    const made = await Promise.all([1, 2, 3].map(() => createAgent(ctx, { name: 'Same name' })))
    expect(made.map(({ slug }) => slug).toSorted()).toEqual(['same-name', 'same-name-2', 'same-name-3'])
  })

  test('changed at the same time lose neither change', async () => {
    const ctx = await createServiceContext(database)
    const { id } = await createAgent(ctx, { name: 'Busy' })
    await Promise.all([
      updateAgent(ctx, id, { description: 'one' }),
      updateAgent(ctx, id, { limits: { max_rounds: 4 } }),
      updateAgent(ctx, id, { tools: ['now'] }),
    ])
    expect(await getAgent(ctx, id)).toMatchObject({
      version: 4,
      description: 'one',
      limits: { max_rounds: 4 },
      tools: ['now'],
    })
  })

  test('renamed at the same time to one slug: one gets it, the other is told', async () => {
    const ctx = await createServiceContext(database)
    const [a, b] = [await createAgent(ctx, { name: 'One' }), await createAgent(ctx, { name: 'Two' })]
    const results = await Promise.allSettled([a, b].map(({ id }) => updateAgent(ctx, id, { slug: 'wanted' })))
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { kind: 'conflict' } })
  })

  test('keep texts as they are, however odd', async () => {
    const ctx = await createServiceContext(database)
    const system_prompt = 'Tab\t, quote ", \\ and emoji 🌧️ {{ not.a.template }}'
    const { id } = await createAgent(ctx, { name: 'Ωmega', system_prompt })
    expect(await getAgent(ctx, id)).toMatchObject({ name: 'Ωmega', system_prompt })
  })
})

describe('measured values of an agent', () => {
  interface Step {
    seconds: number
    status: 'succeeded' | 'failed'
    calls: { cost: string | null; status?: 'ok' | 'error'; input?: number | null }[]
    daysAgo?: number
  }

  async function aStep(ctx: ServiceContext, agentId: string, step: Step) {
    const [runId, workspace_id] = [uuidv7(), ctx.actor.workspaceId]
    const startedAt = new Date(Date.now() - (step.daysAgo ?? 0) * 86_400_000)
    await db
      .insertInto('runs')
      .values({
        id: runId,
        workspace_id,
        state: step.status,
        trigger: jsonb({ kind: 'agent' }),
        input: jsonb({}),
      } as never)
      .execute()
    await db
      .insertInto('run_steps')
      .values({
        run_id: runId,
        path: 'agent',
        parent: '',
        ordinal: 0,
        step_id: 'agent',
        kind: 'agent',
        status: step.status,
        started_at: startedAt,
        finished_at: new Date(startedAt.getTime() + step.seconds * 1000),
      } as never)
      .execute()
    for (const call of step.calls) {
      await db
        .insertInto('model_usage')
        .values({
          id: uuidv7(),
          workspace_id,
          provider: 'openai',
          model: 'm',
          status: call.status ?? 'ok',
          error: null,
          input_tokens: call.input === undefined ? 100 : call.input,
          cached_input_tokens: null,
          output_tokens: 10,
          reasoning_tokens: null,
          cost_usd: call.cost,
          price: null,
          latency_ms: 5,
          key_id: null,
          agent_id: agentId,
          run_id: runId,
          step_path: 'agent',
          created_at: startedAt,
        })
        .execute()
    }
  }

  test('count steps, not calls, and add money exactly', async () => {
    const ctx = await createServiceContext(database)
    const { id } = await createAgent(ctx, { name: 'Measured' })
    await aStep(ctx, id, { seconds: 1, status: 'succeeded', calls: [{ cost: '0.1' }, { cost: '0.2' }] })
    await aStep(ctx, id, { seconds: 2, status: 'succeeded', calls: [{ cost: '0.000000000001' }] })
    await aStep(ctx, id, { seconds: 9, status: 'failed', calls: [{ cost: null, status: 'error', input: null }] })
    await aStep(ctx, id, { seconds: 99, status: 'failed', calls: [{ cost: '5' }], daysAgo: 8 })
    expect(await agentStats(ctx, id, 7)).toEqual({
      agent_id: id,
      days: 7,
      runs: 3,
      succeeded: 2,
      failed: 1,
      success_rate: 2 / 3,
      latency_ms: { p50: 2000, p95: 8300 },
      model_calls: 4,
      failed_model_calls: 1,
      tokens: { input: 300, cached_input: null, output: 40, reasoning: null },
      cost_usd: '0.300000000001',
    })
  })

  test('say nothing of money where the cost of an answer is not known', async () => {
    const ctx = await createServiceContext(database)
    const { id } = await createAgent(ctx, { name: 'Unpriced' })
    await aStep(ctx, id, { seconds: 1, status: 'succeeded', calls: [{ cost: '0.1' }, { cost: null }] })
    expect(await agentStats(ctx, id, 7)).toMatchObject({ runs: 1, cost_usd: null })
  })

  test('are for its own workspace, and for agents that exist', async () => {
    const ctx = await createServiceContext(database)
    const { id, slug } = await createAgent(ctx, { name: 'Mine' })
    await aStep(ctx, id, { seconds: 1, status: 'succeeded', calls: [{ cost: '0.1' }] })
    const stranger = await createServiceContext(database)
    for (const ref of [id, slug])
      await expect(agentStats(stranger, ref, 7)).rejects.toMatchObject({ kind: 'not-found' })
    await deleteAgent(ctx, id)
    await expect(agentStats(ctx, id, 7)).rejects.toMatchObject({ kind: 'not-found' })
  })
})
