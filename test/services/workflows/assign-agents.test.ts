import { expect, test, vi } from 'vitest'
import { assignAgents, type Candidate } from '../../../src/services/workflows/assign-agents.ts'
import { similarities } from '../../../src/services/workflows/text-similarity.ts'

const agent = (slug: string, description: string, more: Partial<Candidate> = {}): Candidate => ({
  id: `id-of-${slug}`,
  slug,
  name: slug,
  description,
  system_prompt: null,
  tools: [],
  load: 0,
  ...more,
})
const team = [
  agent('translator', 'Translates texts between languages.'),
  agent('summarizer', 'Condenses long articles into short digests.'),
  agent('calculator', 'Computes figures exactly.', { tools: ['calculator'] }),
]
const step = (id: string, prompt: string, more: object = {}) => ({ id, kind: 'agent', agent: 'auto', prompt, ...more })
const chosen = async (steps: unknown, candidates = team, insist = false) =>
  (await assignAgents(steps, candidates, insist)).assignments.map(({ step_id, agent_slug, chosen_by }) => [
    step_id,
    agent_slug,
    chosen_by,
  ])

test('a step goes to the agent whose description says that it can do it, other forms of the words included', async () => {
  expect(
    await chosen([
      step('a', 'Summarize the article'),
      step('b', 'Translation into French'),
      step('c', 'Calculate the sum of the figures'),
    ]),
  ).toEqual([
    ['a', 'summarizer', 'similarity'],
    ['b', 'translator', 'similarity'],
    ['c', 'calculator', 'similarity'],
  ])
})

test('of agents that fit alike the least busy one gets the step, and steps of the same plan count', async () => {
  const twins = [agent('alpha', 'Writes summaries.', { load: 1 }), agent('beta', 'Writes summaries.')]
  const steps = ['a', 'b', 'c'].map((id) => step(id, 'Write a summary'))
  expect((await chosen(steps, twins)).map(([, slug]) => slug)).toEqual(['beta', 'alpha', 'beta'])
})

test('a busy agent that fits far better still gets the step', async () => {
  const busy = team.map((each) => (each.slug === 'translator' ? { ...each, load: 50 } : each))
  expect(await chosen([step('a', 'Translate the text into Danish')], busy)).toEqual([['a', 'translator', 'similarity']])
})

test('where no agent fits the step asks a model, unless the agents were named', async () => {
  const odd = [step('a', 'Juggle seventeen oranges')]
  expect((await assignAgents(odd, team, false)).steps).toEqual([
    { id: 'a', kind: 'llm', prompt: 'Juggle seventeen oranges' },
  ])
  expect(await chosen(odd)).toEqual([['a', null, 'none']])
  expect((await chosen(odd, team, true))[0]![1]).not.toBeNull()
  expect(await chosen(odd, [], true)).toEqual([['a', null, 'none']])
})

test('an agent that the plan names keeps its step; one that may not be used is a fault at its place', async () => {
  const named = await assignAgents([step('a', 'Summarize', { agent: 'translator' })], team, false)
  expect(named).toMatchObject({ faults: [], assignments: [{ agent_slug: 'translator', chosen_by: 'named' }] })
  const inner = { id: 'each', kind: 'foreach', steps: [step('a', 'Summarize', { agent: 'stranger' })] }
  expect((await assignAgents([inner], team, false)).faults.map(({ pointer }) => pointer)).toEqual([
    '/steps/0/steps/0/agent',
  ])
})

test('steps in loops and in every branch are assigned too', async () => {
  const steps = [
    { id: 'each', kind: 'foreach', steps: [step('a', 'Summarize it')] },
    {
      id: 'route',
      kind: 'branch',
      cases: [{ when: 'true', steps: [step('b', 'Translate it')] }],
      default: [step('c', 'Summarize it')],
    },
  ]
  expect((await chosen(steps)).map(([id, slug]) => [id, slug])).toEqual([
    ['a', 'summarizer'],
    ['b', 'translator'],
    ['c', 'summarizer'],
  ])
})

test('the words of the agents are counted once, however many steps a plan has', () => {
  const agents = Array.from({ length: 20 }, (_, i) => `agent${i} writes reports of kind${i}`)
  const steps = Array.from({ length: 30 }, (_, i) => `write the report of kind${i % 20}`)
  const counted = vi.spyOn(String.prototype, 'match')
  const together = similarities(steps, agents)
  expect(counted).toHaveBeenCalledTimes(agents.length + steps.length)
  counted.mockRestore()
  expect(together).toEqual(steps.map((step) => similarities([step], agents)[0]))
})

test('similarity is between 0 and 1, and the same each time', async () => {
  const texts = ['writes code', 'translates texts', '']
  const [first = []] = similarities(['translate this text'], texts)
  expect(first).toEqual(similarities(['translate this text'], texts)[0])
  for (const value of first) expect(value).toBeGreaterThanOrEqual(0)
  for (const value of first) expect(value).toBeLessThanOrEqual(1)
  expect(first[1]).toBeGreaterThan(first[0]!)
  expect(first[2]).toBe(0)
})
