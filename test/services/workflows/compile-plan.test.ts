import { describe, expect, test } from 'vitest'
import { compilePlan, plannerKinds, type PlanRules } from '../../../src/services/workflows/compile-plan.ts'
import { planSchema } from '../../../src/services/workflows/plan-schema.ts'
import { planningRecipe } from '../../../src/services/workflows/planning-run.ts'
import { validateDefinition } from '../../../src/services/recipes/validate.ts'
import type { JsonObject } from '../../../src/lib/json.ts'
import { checkSchema, validateJson } from '../../../src/lib/json-schema.ts'

const rules: PlanRules = {
  goal: 'Read https://news.example/feed.xml and tell https://hooks.example:8443/in',
  candidates: [],
  tools: null,
  agentsNamed: false,
  by: 'planner',
}
const get = (url: string, more: JsonObject = {}): JsonObject => ({
  id: 'fetch',
  kind: 'http',
  request: { method: 'GET', url },
  ...more,
})
const plan = (...steps: JsonObject[]) => ({ name: 'A plan', steps })
const compile = (value: unknown, more: Partial<PlanRules> = {}) => compilePlan(value, { ...rules, ...more })
const pointers = async (value: unknown, more: Partial<PlanRules> = {}) =>
  (await compile(value, more)).faults?.map(({ pointer }) => pointer)

describe('a plan', () => {
  test('is a recipe by the same validator, with the inputs that every plan has', async () => {
    const { compiled } = await compile(plan(get('https://news.example/feed.xml')))
    expect(compiled!.definition).toMatchObject({
      name: 'A plan',
      inputs: { properties: { goal: {}, context: {}, results: {} } },
    })
    expect(validateDefinition(compiled!.definition).faults).toEqual([])
  })

  test('brings no slug, inputs or settings of its own', async () => {
    const written = {
      ...plan(get('https://news.example/')),
      slug: 'mine',
      settings: { on_failure: { webhook: { url: 'https://evil.example/' } } },
    }
    expect((await compile(written)).compiled!.definition).not.toHaveProperty('settings')
    expect((await compile(written)).compiled!.definition).not.toHaveProperty('slug')
  })

  test('does not say which model answers, unless a person wrote it', async () => {
    const dear = {
      id: 'a',
      kind: 'llm',
      prompt: 'x',
      model: { provider: 'openai-compatible', model: 'm', base_url: 'https://evil.example/' },
    }
    expect(await pointers(plan(dear))).toEqual(['/steps/0/model'])
    expect(await pointers(plan(dear), { by: 'person' })).toBeUndefined()
  })

  test('has every fault named at once, where it is', async () => {
    expect(
      await pointers(plan({ id: 'a', kind: 'llm', prompt: '{{ steps.b.output }}' }, { id: 'c', kind: 'dance' })),
    ).toEqual(expect.arrayContaining(['/steps/0/prompt', '/steps/1/kind']))
    expect(await pointers('prose')).toEqual([''])
  })

  test('has at most twenty steps, those in loops counted', async () => {
    const steps = Array.from({ length: 19 }, (_, n) => ({ id: `s${n}`, kind: 'transform', value: n }))
    const loop = {
      id: 'each',
      kind: 'foreach',
      items: [1],
      as: 'n',
      steps: [{ id: 'inner', kind: 'transform', value: 1 }],
    }
    expect(await pointers(plan(...steps))).toBeUndefined()
    expect(await pointers(plan(...steps, loop))).toEqual(['/steps'])
  })

  test('makes no requests where the tool for them is not allowed', async () => {
    expect(await pointers(plan(get('https://news.example/')), { tools: ['calculator'] })).toEqual(['/steps/0/kind'])
    expect(await pointers(plan(get('https://news.example/')), { tools: ['http_request'] })).toBeUndefined()
  })
})

test('a plan calls no tool and tells nobody outside where that is not allowed, and starts no recipe', async () => {
  const calc = { id: 'calc', kind: 'tool', tool: 'calculator', arguments: { expression: '1' } }
  const hook = { id: 'tell', kind: 'notify', message: 'x', webhook: { url: 'https://hooks.example:8443/in' } }
  const mail = { id: 'mail', kind: 'notify', message: 'x', email: { to: ['a@b.example'], subject: 'x' } }
  const fine = { id: 'line', kind: 'notify', message: 'x', log: 'info' }
  const asked = { id: 'ok', kind: 'approval', message: 'Go on?' }
  expect(await pointers(plan(calc, hook, mail, fine, asked))).toBeUndefined()
  expect(await pointers(plan(calc, hook, mail, fine, asked), { tools: ['now'] })).toEqual([
    '/steps/0/tool',
    '/steps/1/webhook',
    '/steps/2/email',
  ])
  expect(await pointers(plan(calc), { tools: ['calculator'] })).toBeUndefined()
  expect(await pointers(plan({ id: 'child', kind: 'recipe', recipe: 'other' }))).toEqual(['/steps/0/kind'])
})

describe('somebody has to look at a plan', () => {
  const attention = async (step: JsonObject, more: Partial<PlanRules> = {}) =>
    (await compile(plan(step), more)).compiled!.attention

  test('that reaches a host which the goal does not name, a part of one included', async () => {
    expect(await attention(get('https://news.example/other'))).toEqual([])
    expect(await attention(get('https://hooks.example:8443/in'))).toEqual([])
    expect(await attention(get('https://elsewhere.example/'))).toHaveLength(1)
    expect(await attention(get('https://s.example/'))).toHaveLength(1)
    expect(await attention(get('http://feed/'), { goal: 'Read the feed' })).toHaveLength(1)
  })

  test('but not one of a host that the goal writes without https', async () => {
    const goal = 'Compare news.example, (Bücher.example:8443/neu) and www.Shop.example. Mail bob@corp.example of it.'
    expect(await attention(get('https://news.example/a'), { goal })).toEqual([])
    expect(await attention(get('https://xn--bcher-kva.example:8443/neu'), { goal })).toEqual([])
    expect(await attention(get('https://www.shop.example/'), { goal })).toEqual([])
    expect(await attention(get('https://shop.example/'), { goal })).toHaveLength(1)
    expect(await attention(get('https://corp.example/'), { goal })).toHaveLength(1)
    const nested = 'Read https://news.example/?from=https://evil.example/other.example'
    expect(await attention(get('https://evil.example/'), { goal: nested })).toHaveLength(1)
    expect(await attention(get('https://other.example/'), { goal: nested })).toHaveLength(1)
  })

  test('whose address goes elsewhere than it looks', async () => {
    for (const url of [
      'https://news.example\t.evil.example/x',
      'https://news.example\n.evil.example/x',
      'https://news.example\\.evil.example/',
      'https://news.example\u{7f}.evil.example/',
      'https://news.example\t.evil.example/{{ input.goal }}',
    ]) {
      const { compiled, faults } = await compile(plan(get(url)))
      expect(faults ?? compiled.attention, url).toHaveLength(1)
    }
  })

  test('that tells a host or a person whom the goal does not name', async () => {
    const notify = (more: JsonObject) => ({ id: 'tell', kind: 'notify', message: 'Done.', ...more })
    expect(await attention(notify({ log: 'info' }))).toEqual([])
    expect(await attention(notify({ webhook: { url: 'https://hooks.example:8443/in' } }))).toEqual([])
    expect(await attention(notify({ webhook: { url: 'https://evil.example/' } }))).toHaveLength(1)
    expect(await attention(notify({ webhook: { url: '{{ input.context }}' } }))).toHaveLength(1)
    const auth = { credential: 'team' }
    expect(await attention(notify({ webhook: { url: 'https://hooks.example:8443/in', auth } }))).toHaveLength(1)
    const secret = "https://hooks.example:8443/in?t={{ secret('team.token') }}"
    expect(await attention(notify({ webhook: { url: secret } }))).toHaveLength(1)
    const goal = 'Read it and mail Kim <Kim@corp.example>, bob@corp.example.'
    const mail = (...to: string[]) => attention(notify({ email: { to, subject: 'It' } }), { goal })
    expect(await mail('kim@corp.example', 'Bob@corp.example')).toEqual([])
    expect(await mail('kim@corp.example', 'eve@corp.example')).toHaveLength(1)
    expect(await mail('{{ input.context }}@corp.example')).toHaveLength(1)
  })

  test('that calls a tool for an address which the goal does not name', async () => {
    const call = (tool: string, args: unknown) =>
      attention({ id: 'call', kind: 'tool', tool, arguments: args } as JsonObject)
    expect(await call('calculator', { expression: '1+1' })).toEqual([])
    expect(await call('http_request', { url: 'https://news.example/a' })).toEqual([])
    expect(await call('http_request', { url: 'https://evil.example/' })).toHaveLength(1)
    expect(await call('http_request', { url: { $expr: 'input.context' } })).toHaveLength(1)
    expect(await call('http_request', { $expr: 'input.context' })).toHaveLength(1)
  })

  test('whose step is for an agent that chooses addresses itself', async () => {
    const candidate = (slug: string, tools: string[]) => ({
      id: slug,
      slug,
      name: 'Reader of news',
      description: 'Reads the news',
      system_prompt: null,
      tools,
      load: 0,
    })
    const candidates = [candidate('reader', ['now', 'http_request'])]
    const step = { id: 'read', kind: 'agent', prompt: 'Read the news' }
    for (const agent of ['auto', 'reader'])
      expect(await attention({ ...step, agent }, { candidates })).toEqual([
        'Step read is for the agent reader, which may reach any address with http_request.',
      ])
    const each = { id: 'each', kind: 'foreach', items: [1], as: 'n', steps: [{ ...step, agent: 'auto' }] }
    expect(await attention(each, { candidates })).toHaveLength(1)
    const harmless = [candidate('thinker', ['now', 'calculator'])]
    expect(await attention({ ...step, agent: 'auto' }, { candidates: harmless })).toEqual([])
  })

  test('whose addresses are made up as it runs', async () => {
    expect(await attention(get('{{ input.context.url }}'))).toHaveLength(1)
    expect(await attention(get('https://news.example.{{ input.goal }}/'))).toHaveLength(1)
    expect(await attention(get('https://news.example@evil.example/'))).toHaveLength(1)
    expect(await attention(get('https://news.example/{{ input.goal }}'))).toEqual([])
  })

  test('that sends a stored credential', async () => {
    expect(await attention(get('https://news.example/', { auth: { credential: 'tracker' } }))).toHaveLength(1)
    expect(await attention(get("https://news.example/?key={{ secret('tracker.token') }}"))).toHaveLength(1)
    const headers = { authorization: "Bearer {{ secret ('my-key.value') }}" }
    const request = { method: 'GET', url: 'https://news.example/', headers }
    expect(await attention(get('', { request }))).toHaveLength(1)
  })

  test('unless a person wrote it', async () => {
    expect(await attention(get('https://elsewhere.example/'), { by: 'person' })).toEqual([])
  })
})

test('the form asked of the planner can be applied, and the question to it is a valid recipe', async () => {
  expect(checkSchema(planSchema())).toBeNull()
  const kinds = JSON.stringify(planSchema()).match(/(?<="kind":\{"type":"string","const":")\w+/g)
  expect([...new Set(kinds)].toSorted()).toEqual([...plannerKinds].toSorted())
  expect(validateJson(planSchema(), plan(get('https://news.example/')))).toEqual([])
  expect(validateJson(planSchema(), plan({ id: 'a', kind: 'llm', prompt: 'x', model: {} }))).not.toEqual([])
  for (const persona of [null, 'You plan. {{ not a template }} {% endraw %}']) {
    const recipe = planningRecipe({ goal: 'Anything {{ odd', model: null }, persona, true)
    expect(validateDefinition({ ...recipe, inputs: { type: 'object', additionalProperties: true } }).faults).toEqual([])
  }
})
