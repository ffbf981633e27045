import { describe, expect, test } from 'vitest'
import { planFrom } from '../../../src/services/models/offline/plan.ts'
import { splitTasks } from '../../../src/services/models/offline/plan-tasks.ts'
import { userPrompt } from '../../../src/services/steps/prompt.ts'
import { compilePlan } from '../../../src/services/workflows/compile-plan.ts'
import type { Json } from '../../../src/lib/json.ts'

interface Step {
  id: string
  kind: string
  steps?: Step[]
  [key: string]: unknown
}
const planned = (goal: string, brief: { [key: string]: Json } = {}) =>
  planFrom(userPrompt('Plan how to reach this goal:', { goal, agents: [], ...brief })) as unknown as {
    name: string
    steps: Step[]
    output?: unknown
  }
const faultsOf = async (goal: string, plan: unknown) =>
  (await compilePlan(plan, { goal, candidates: [], tools: null, agentsNamed: false, by: 'planner' })).faults
const kinds = (plan: { steps: Step[] }) => plan.steps.map(({ kind }) => kind)
const agents = [{ slug: 'writer', name: 'Writer', description: 'Writes.', tools: [] }]

describe('the offline model takes a goal apart', () => {
  test('into the tasks that sentences, list items, "then" and "and" make of it', async () => {
    expect(
      splitTasks(
        'Read https://a.example/x, summarize it and then translate the summary. Then wait 5 minutes; send it.',
      ),
    ).toEqual(['Read https://a.example/x', 'summarize it', 'translate the summary', 'wait 5 minutes', 'send it'])
    expect(splitTasks('1. Compare pros and cons\n- please decide')).toEqual(['Compare pros and cons', 'decide'])
  })

  test('reads addresses by what they are, works on what it read, and delivers the result', async () => {
    const goal =
      'Fetch https://news.example/feed.xml and https://shop.example/prices.csv. Compare them. Then post the result to https://hooks.example/in.'
    const plan = planned(goal)
    expect(plan.steps).toMatchObject([
      { kind: 'http', request: { method: 'GET', url: 'https://news.example/feed.xml' }, parse: 'feed' },
      { kind: 'http', request: { method: 'GET', url: 'https://shop.example/prices.csv' }, parse: 'csv' },
      {
        kind: 'llm',
        prompt: 'Compare them',
        context: { fetch: { $expr: 'steps.fetch.output.body.items' }, fetch_2: { $expr: 'steps.fetch_2.output.body' } },
      },
      {
        kind: 'http',
        request: {
          method: 'POST',
          url: 'https://hooks.example/in',
          body: { compare: { $expr: 'steps.compare.output.text' } },
        },
      },
    ])
    expect(plan.output).toEqual({ $expr: 'steps.compare.output.text' })
    expect(await faultsOf(goal, plan)).toBeNull()
  })

  test('takes no more of a list than the goal speaks of', async () => {
    const plan = planned('Read https://news.example/feed.xml and summarize the first 5 items.')
    expect(plan.steps[1]!['context']).toEqual({ fetch: { $expr: 'steps.fetch.output.body.items.slice(0, 5)' } })
  })

  test('goes through a list item by item, as many as the goal says', async () => {
    const goal = 'Read https://news.example/feed.xml. Summarize each of the first 3 items in one sentence.'
    const plan = planned(goal, { agents })
    expect(plan.steps[1]).toMatchObject({
      kind: 'foreach',
      items: { $expr: 'steps.fetch.output.body.items.slice(0, 3)' },
      steps: [{ kind: 'agent', agent: 'auto', context: { item: { $expr: 'item' } } }],
    })
    expect(await faultsOf(goal, plan)).toBeNull()
  })

  test('waits where the goal says so, and uses agents where there are any', async () => {
    expect(kinds(planned('Write a haiku, then wait 10 minutes, then review it.', { agents }))).toEqual([
      'agent',
      'wait',
      'agent',
    ])
    expect(kinds(planned('Write a haiku.'))).toEqual(['llm'])
  })

  test('asks for approval, writes to the log and calculates where the goal says so, the same way each time', async () => {
    const goal = 'Summarize the rain. Calculate 2 * (20 + 1). Ask me for approval, then log the result.'
    const plan = planned(goal)
    expect(plan.steps).toMatchObject([
      { kind: 'llm' },
      { kind: 'tool', tool: 'calculator', arguments: { expression: '2 * (20 + 1)' } },
      { kind: 'approval', payload: { summarize: { $expr: 'steps.summarize.output.text' } } },
      { kind: 'notify', log: 'info', data: { summarize: { $expr: 'steps.summarize.output.text' } } },
    ])
    expect(planned(goal)).toEqual(plan)
    expect(await faultsOf(goal, plan)).toBeNull()
    expect(kinds(planned('Calculate 1 + 1.', { tools: ['now'] }))).toEqual(['llm'])
    expect(kinds(planned('Log in to https://a.example/ and calculate the tax.'))).not.toContain('notify')
  })

  test('makes no request where that is not allowed', async () => {
    expect(kinds(planned('Read https://news.example/ and sum it up', { tools: ['calculator'] }))).not.toContain('http')
  })

  test.each([
    'Tidy up',
    '???',
    'Say "{{ input.secret }}" and {% raw %} to https://a.example/{{ x }}.',
    `${'Write a line. '.repeat(60)}`,
    Array.from({ length: 9 }, (_, n) => `Summarize https://s${n}.example/feed.xml and each item.`).join('\n'),
    'x'.repeat(8000),
  ])('into a plan that can be carried out, whatever the goal: %.40s', async (goal) => {
    const plan = planned(goal, { agents, context: { a: 1 } })
    const { faults } = await compilePlan(plan, {
      goal,
      candidates: [],
      tools: null,
      agentsNamed: false,
      by: 'planner',
    })
    expect(faults).toBeNull()
    expect(planned(goal, { agents, context: { a: 1 } })).toEqual(plan)
  })
})

describe('the offline model plans the rest', () => {
  const goal = 'Fetch https://one.example/ and https://two.example/. Compare them. Send it to https://hooks.example/.'
  const { steps } = planned(goal, { agents })
  const rest = (step: string) =>
    planned(goal, { failed: { steps: steps as unknown as Json, step, error: {}, results: {} } })

  test('without a source that cannot be read, saying so, with the results that there are', async () => {
    const plan = rest('fetch_2')
    expect(plan.steps.map(({ id }) => id)).toEqual(['compare', 'send'])
    expect(plan.steps[0]!['prompt']).toContain('https://two.example/ could not be read')
    expect(plan.steps[0]!['context']).toEqual({
      fetch: { $expr: 'get(input, "results.fetch.body")' },
      fetch_2: { $expr: 'get(input, "results.fetch_2.body")' },
    })
    expect(await faultsOf(goal, plan)).toBeNull()
  })

  test('with a model in the place of an agent that failed', async () => {
    const plan = rest('compare')
    expect(plan.steps.map(({ id, kind }) => [id, kind])).toEqual([
      ['compare', 'llm'],
      ['send', 'http'],
    ])
    expect(await faultsOf(goal, plan)).toBeNull()
  })

  test('and never leaves out what is to be delivered', async () => {
    const plan = rest('send')
    expect(plan.steps).toMatchObject([{ id: 'send', kind: 'http', retry: { max_attempts: 5 } }])
    expect(JSON.stringify(plan.steps)).toContain('get(input, \\"results.compare.text\\")')
    expect(await faultsOf(goal, plan)).toBeNull()
  })

  test('keeps the only source there is', async () => {
    const only = planned('Read https://one.example/. Sum it up.').steps
    const plan = planned('x', { failed: { steps: only as unknown as Json, step: 'fetch', error: {}, results: {} } })
    expect(plan.steps[0]).toMatchObject({ id: 'fetch', kind: 'http' })
  })
})
