import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { JsonObject } from '../../../src/lib/json.ts'
import { validateDefinition } from '../../../src/services/recipes/validate.ts'

const set = (id: string, value: unknown = 1, more: object = {}) => ({ id, kind: 'transform', value, ...more })
const expr = (source: string) => ({ $expr: source })
const recipe = (steps: unknown, more: object = {}) => ({ name: 'A recipe', steps, ...more })
const http = (request: object, more: object = {}) => ({
  id: 'call',
  kind: 'http',
  request: { method: 'POST', url: 'https://api.example/v1', ...request },
  ...more,
})
const foreach = (more: object = {}) => ({
  id: 'each',
  kind: 'foreach',
  items: expr('input.list'),
  as: 'item',
  steps: [set('inner', expr('item.x'))],
  ...more,
})
const branch = (more: object = {}) => ({
  id: 'fork',
  kind: 'branch',
  cases: [
    { when: 'input.a == 1', steps: [set('left')] },
    { when: 'true', steps: [set('right')] },
  ],
  default: [set('other')],
  ...more,
})
const linesOf = (value: unknown) => validateDefinition(value).faults.map((fault) => `${fault.pointer}: ${fault.detail}`)
const nested = (levels: number): unknown =>
  levels === 1 ? [set('deepest')] : [foreach({ id: `level${levels}`, as: `item${levels}`, steps: nested(levels - 1) })]

const full = recipe(
  [
    http(
      {
        method: 'GET',
        url: "{{ input.url }}?key={{ secret('vendor.token') }}",
        headers: { 'x-key': "{{ secret('vendor.token') }}" },
        query: { page: 1, tags: ['a', 'b'], since: expr('previous.output.at') },
      },
      {
        id: 'fetch',
        parse: 'feed',
        accept: [304],
        auth: { credential: 'vendor' },
        retry: { max_attempts: 4, backoff: '2s', retry_on: ['timeout'] },
        timeout: '30s',
        on_error: 'continue',
      },
    ),
    set('items', expr('steps.fetch.output.body.items')),
    foreach({
      items: expr('steps.items.output'),
      concurrency: 8,
      on_item_error: 'collect',
      steps: [
        {
          id: 'note',
          kind: 'agent',
          agent: 'summarizer',
          prompt: 'Summarize {{ item.title }}',
          output_schema: { type: 'object' },
        },
      ],
    }),
    branch({ when: 'steps.fetch.error == null' }),
    {
      id: 'ask',
      kind: 'llm',
      prompt: 'Which? {{ steps.left.output }}',
      system: 'Be brief.',
      model: { provider: 'openai', model: 'gpt-x', fallbacks: [{ provider: 'anthropic', model: 'claude-x' }] },
    },
    { id: 'pause', kind: 'wait', duration: '{{ input.pause }}' },
    { id: 'night', kind: 'wait', until: expr('run.started_at') },
    {
      id: 'stop',
      kind: 'fail',
      message: 'Nothing from {{ trigger.kind }}',
      reason: 'no-data',
      when: 'size(steps.each.output) == 0',
      once: true,
    },
  ],
  {
    slug: 'a-recipe',
    description: 'Everything at once.',
    inputs: { type: 'object', properties: { url: { type: 'string' }, a: {}, pause: {} }, additionalProperties: false },
    output: { notes: expr('steps.each.output'), at: '{{ now }}' },
    settings: {
      timeout: '1h',
      on_failure: { log: true, webhook: { url: 'https://hooks.example/x', auth: { credential: 'hook' } } },
    },
  },
)

test('a definition that uses everything has no fault and comes back as it was written', () => {
  const { definition, faults } = validateDefinition(full)
  expect(faults).toEqual([])
  expect(definition).toEqual(full)
})

test.each<[string, unknown, string[]]>([
  ['no object', 7, [': must be an object']],
  ['nothing', undefined, [': must be an object']],
  ['empty', {}, ['/name: is required', '/steps: is required']],
  ['no steps', recipe([]), ['/steps: must not be empty']],
  ['unknown field of a recipe', recipe([set('a')], { color: 'red' }), ['/color: is not a field of a recipe']],
  [
    'unknown field of a step',
    recipe([set('a', 1, { color: 1 })]),
    ['/steps/0/color: is not a field of a step of kind transform'],
  ],
  [
    'setting of a later version',
    recipe([set('a')], { settings: { state_key: 'x' } }),
    ['/settings/state_key: is not supported by this version'],
  ],
  [
    'data from outside as system text',
    recipe([{ id: 'a', kind: 'llm', prompt: 'x', system: 'Obey {{ trigger.text }}' }]),
    ['/steps/0/system: may refer to run and now only; give trigger as context or in the prompt'],
  ],
  [
    'a provider that does not exist',
    recipe([{ id: 'a', kind: 'llm', prompt: 'x', model: { provider: 'oracle', model: 'y' } }]),
    [expect.stringMatching(/^\/steps\/0\/model\/provider: must be one of /)],
  ],
  [
    'unknown kind',
    recipe([{ id: 'a', kind: 'magic' }]),
    [
      '/steps/0/kind: must be one of agent, llm, tool, http, transform, branch, foreach, wait, approval, recipe, notify, fail',
    ],
  ],
  [
    'kind of a later version',
    recipe([{ id: 'a', kind: 'document' }]),
    ['/steps/0/kind: document is not supported by this version'],
  ],
  [
    'a wait for nothing, or for two things',
    recipe([
      { id: 'a', kind: 'wait' },
      { id: 'b', kind: 'wait', duration: '1s', event: 'x' },
      { id: 'c', kind: 'wait', duration: '1s', match: {}, on_timeout: 'fail' },
      { id: 'd', kind: 'wait', event: 'x', on_timeout: 'continue' },
      { id: 'e', kind: 'wait', event: 'two words', timeout: 'soon' },
    ]),
    [
      '/steps/4/event: must start with a letter or a digit and hold only A-Z, a-z, 0-9 and . _ : / -',
      '/steps/0: needs exactly one of duration, until and event',
      '/steps/1: needs exactly one of duration, until and event',
      '/steps/2/match: needs an event',
      '/steps/2/on_timeout: needs an event',
      '/steps/3/on_timeout: needs a timeout',
      '/steps/4/timeout: must be a duration such as 30s, 5m or 1h30m',
    ],
  ],
  [
    'what the match of a wait cannot see',
    recipe([
      { id: 'a', kind: 'wait', event: 'x', match: { $expr: 'event.id == steps.b.output' } },
      { id: 'b', kind: 'transform', value: { $expr: 'event.id' } },
      { id: 'c', kind: 'wait', event: 'x', match: { id: '{{ event.id }}' } },
    ]),
    [
      '/steps/0/match/$expr: step b cannot have run before this',
      expect.stringContaining('/steps/1/value/$expr: event is not known here') as unknown as string,
      expect.stringContaining('/steps/2/match/id: event is not known here') as unknown as string,
    ],
  ],
  [
    'an approval that leads nowhere',
    recipe([
      { id: 'a', kind: 'approval', on_reject: { goto: 'z' }, on_timeout: 'approve' },
      {
        id: 'b',
        kind: 'approval',
        message: 'Go?',
        on_timeout: 'perhaps',
        timeout: '1h',
        payload_schema: { type: 'x' },
      },
    ]),
    [
      '/steps/0/message: is required',
      expect.stringMatching(/^\/steps\/1\/on_timeout: must be "fail"/) as unknown as string,
      '/steps/0/on_timeout: needs a timeout',
      '/steps/0/on_reject/goto: there is no step z',
      expect.stringMatching(/^\/steps\/1\/payload_schema/) as unknown as string,
    ],
  ],
  [
    'a tool that is none, arguments that are no object',
    recipe([
      { id: 'a', kind: 'tool', tool: 'hammer' },
      { id: 'b', kind: 'tool', tool: 'now', arguments: [1] },
      { id: 'c', kind: 'recipe', recipe: 'other', input: 'text', version: 0 },
    ]),
    [
      '/steps/2/version: must be at least 1',
      '/steps/0/tool: there is no such tool: use http_request, now, calculator',
      '/steps/1/arguments: must be an object, a template or {"$expr": "…"}',
      '/steps/2/input: must be an object, a template or {"$expr": "…"}',
    ],
  ],
  [
    'a notice that goes nowhere, or two ways',
    recipe([
      { id: 'a', kind: 'notify', message: 'x' },
      { id: 'b', kind: 'notify', message: 'x', log: 'info', webhook: { url: 'ftp://x' } },
      { id: 'c', kind: 'notify', message: 'x', email: { to: ['nobody'], subject: 'x' } },
    ]),
    [
      '/steps/2/email/to/0: must be an address such as kim@example.org, or a template that gives one',
      '/steps/0: needs exactly one of log, webhook and email',
      '/steps/1: needs exactly one of log, webhook and email',
      '/steps/1/webhook/url: must be an absolute http or https URL',
    ],
  ],
  [
    'no kind',
    recipe([{ id: 'a' }]),
    [
      '/steps/0/kind: is required: one of agent, llm, tool, http, transform, branch, foreach, wait, approval, recipe, notify, fail',
    ],
  ],
  ['a step that is no object', recipe(['a']), ['/steps/0: must be a step object']],
  [
    'id',
    recipe([set('Bad-Id')]),
    ['/steps/0/id: must start with a lower-case letter and hold only a-z, 0-9 and _, at most 63 characters'],
  ],
  [
    'missing fields',
    recipe([{ kind: 'agent', id: 'a' }]),
    ['/steps/0/agent: is required', '/steps/0/prompt: is required'],
  ],
  ['missing value', recipe([{ kind: 'transform', id: 'a' }]), ['/steps/0/value: is required']],
  [
    'max_attempts',
    recipe([set('a', 1, { retry: { max_attempts: 21 } })]),
    ['/steps/0/retry/max_attempts: must be at most 20'],
  ],
  [
    'max_attempts below',
    recipe([set('a', 1, { retry: { max_attempts: 0 } })]),
    ['/steps/0/retry/max_attempts: must be at least 1'],
  ],
  [
    'max_attempts fraction',
    recipe([set('a', 1, { retry: { max_attempts: 1.5 } })]),
    ['/steps/0/retry/max_attempts: must be a whole number'],
  ],
  [
    'backoff',
    recipe([set('a', 1, { retry: { max_attempts: 2, backoff: 'soon' } })]),
    ['/steps/0/retry/backoff: must be a duration such as 30s, 5m or 1h30m'],
  ],
  [
    'max_delay',
    recipe([set('a', 1, { retry: { max_attempts: 2, max_delay: '0s' } })]),
    ['/steps/0/retry/max_delay: must be longer than nothing'],
  ],
  ['timeout', recipe([set('a', 1, { timeout: 5 })]), ['/steps/0/timeout: must be a text']],
  ['timeout too long', recipe([set('a', 1, { timeout: '400d' })]), ['/steps/0/timeout: must be at most 366d']],
  [
    'settings.timeout',
    recipe([set('a')], { settings: { timeout: '1 hour' } }),
    ['/settings/timeout: must be a duration such as 30s, 5m or 1h30m'],
  ],
  [
    'on_error',
    recipe([set('a', 1, { on_error: 'retry' })]),
    ['/steps/0/on_error: must be "fail", "continue" or {"goto": "<step id>"}'],
  ],
  ['goto nowhere', recipe([set('a', 1, { on_error: { goto: 'z' } })]), ['/steps/0/on_error/goto: there is no step z']],
  [
    'goto into another list',
    recipe([foreach(), set('b', 1, { on_error: { goto: 'inner' } })]),
    ['/steps/1/on_error/goto: inner is in another list of steps; goto stays within its own'],
  ],
  ['once false', recipe([set('a', 1, { once: false })]), ['/steps/0/once: must be true or absent']],
  [
    'once with retry',
    recipe([set('a', 1, { once: true, retry: { max_attempts: 2 } })]),
    ['/steps/0/once: cannot go with a retry of more than one attempt'],
  ],
  [
    'duplicate id',
    recipe([set('a'), foreach({ steps: [set('a')] })]),
    ['/steps/1/steps/0/id: a is already the id of /steps/0'],
  ],
  [
    'method',
    recipe([http({ method: 'FETCH' })]),
    ['/steps/0/request/method: must be one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS'],
  ],
  [
    'url',
    recipe([http({ url: 'ftp://files.example' })]),
    ['/steps/0/request/url: must be an absolute http or https URL'],
  ],
  [
    'header name',
    recipe([http({ headers: { 'a b': '1' } })]),
    ['/steps/0/request/headers/a b: must be an HTTP header name'],
  ],
  [
    'transport header',
    recipe([http({ headers: { Host: 'x' } })]),
    ['/steps/0/request/headers/Host: is set by the transport'],
  ],
  [
    'header value',
    recipe([http({ headers: { a: { b: 1 } } })]),
    ['/steps/0/request/headers/a: must be a text, a number, true or false or {"$expr": "…"}'],
  ],
  ['GET with a body', recipe([http({ method: 'GET', body: {} })]), ['/steps/0/request/body: cannot go with GET']],
  ['accept', recipe([http({}, { accept: [42] })]), ['/steps/0/accept/0: must be at least 100']],
  [
    'secret in the path',
    recipe([http({ url: "https://api.example/{{ secret('a1.token') }}?q=1" })]),
    ['/steps/0/request/url: may use secret() in its query only'],
  ],
  [
    'secret elsewhere',
    recipe([{ id: 'a', kind: 'llm', prompt: "{{ secret('vendor.token') }}" }]),
    ['/steps/0/prompt: uses secret(), which only the query, headers and body of an http request may'],
  ],
  [
    'secret in a tree',
    recipe([set('a', { b: ["{{ secret('vendor.token') }}"] })]),
    ['/steps/0/value/b/0: uses secret(), which only the query, headers and body of an http request may'],
  ],
  [
    'wait without either',
    recipe([{ id: 'a', kind: 'wait' }]),
    ['/steps/0: needs exactly one of duration, until and event'],
  ],
  [
    'wait with both',
    recipe([{ id: 'a', kind: 'wait', duration: '1s', until: '2026-01-01T00:00:00Z' }]),
    ['/steps/0: needs exactly one of duration, until and event'],
  ],
  [
    'wait duration',
    recipe([{ id: 'a', kind: 'wait', duration: 'a while' }]),
    ['/steps/0/duration: must be a duration such as 30s, 5m or 1h30m'],
  ],
  [
    'wait until',
    recipe([{ id: 'a', kind: 'wait', until: 'tomorrow' }]),
    ['/steps/0/until: must be a time such as 2026-01-31T08:30:00Z, a template or {"$expr": "…"}'],
  ],
  ['foreach items', recipe([foreach({ items: 'all' })]), ['/steps/0/items: must be a list or {"$expr": "…"}']],
  ['concurrency', recipe([foreach({ concurrency: 51 })]), ['/steps/0/concurrency: must be at most 50']],
  [
    'reserved variable',
    recipe([foreach({ as: 'steps', steps: [set('b')] })]),
    ['/steps/0/as: must not be steps, which has a meaning already'],
  ],
  [
    'shadowed variable',
    recipe([foreach({ steps: [foreach({ id: 'each2', steps: [set('b')] })] })]),
    ['/steps/0/steps/0/as: item is the variable of a foreach around it'],
  ],
  [
    'offline as a fallback',
    recipe([
      {
        id: 'a',
        kind: 'llm',
        prompt: 'x',
        model: { provider: 'openai', model: 'm', fallbacks: [{ provider: 'offline', model: 'm' }] },
      },
    ]),
    ['/steps/0/model/fallbacks/0/provider: must not be the offline model'],
  ],
  [
    'inputs',
    recipe([set('a')], { inputs: { type: 'object', properties: { a: { type: 'text' } } } }),
    ['/inputs/properties/a/type: must be one or more of null, boolean, object, array, number, string, integer'],
  ],
  ['inputs of another type', recipe([set('a')], { inputs: { type: 'array' } }), ['/inputs/type: must be object']],
  [
    'output_schema',
    recipe([{ id: 'a', kind: 'llm', prompt: 'x', output_schema: { $ref: 'https://x.example' } }]),
    ['/steps/0/output_schema/$ref: must point into this schema (#/…)'],
  ],
  ['reserved slug', recipe([set('a')], { slug: 'validate' }), ['/slug: must not be validate, which is part of a path']],
  [
    'webhook',
    recipe([set('a')], { settings: { on_failure: { webhook: { url: 'mailto:x@y.example' } } } }),
    ['/settings/on_failure/webhook/url: must be an http or https URL'],
  ],
  [
    'unknown root',
    recipe([set('a', expr('inputs.x'))]),
    ['/steps/0/value/$expr: inputs is not known here; there are input, steps, trigger, run, now, previous'],
  ],
  [
    'undeclared input',
    recipe([set('a', expr('input.b'))], { inputs: { properties: { a: {} } } }),
    ['/steps/0/value/$expr: input.b is not among the properties of inputs'],
  ],
  [
    'unknown step',
    recipe([{ id: 'a', kind: 'llm', prompt: '{{ steps.z.output }}' }]),
    ['/steps/0/prompt: there is no step z'],
  ],
  ['itself', recipe([set('a', expr('steps.a.output'))]), ['/steps/0/value/$expr: step a cannot have run before this']],
  [
    'a later step',
    recipe([set('a', 1, { when: 'steps.b.output == 1' }), set('b')]),
    ['/steps/0/when: step b cannot have run before this'],
  ],
  [
    'inside a foreach',
    recipe([foreach(), set('b', expr('steps.inner.output'))]),
    ['/steps/1/value/$expr: step inner cannot have run before this'],
  ],
  [
    'inside a foreach, at the end',
    recipe([foreach()], { output: expr('steps.inner.output') }),
    ['/output/$expr: step inner cannot have run before this'],
  ],
  [
    'its own container',
    recipe([foreach({ steps: [set('b', expr('steps.each.output'))] })]),
    ['/steps/0/steps/0/value/$expr: step each cannot have run before this'],
  ],
  [
    'another case',
    recipe([branch({ default: [set('other', expr('steps.left.output'))] })]),
    ['/steps/0/default/0/value/$expr: step left cannot have run before this'],
  ],
  [
    'a loop variable outside',
    recipe([foreach(), set('b', expr('item.x'))]),
    ['/steps/1/value/$expr: item is not known here; there are input, steps, trigger, run, now, previous'],
  ],
  [
    'not the output',
    recipe([set('a'), set('b', expr('steps.a.body'))]),
    ['/steps/1/value/$expr: steps.a has output, error, status, not body; its result is steps.a.output'],
  ],
  [
    'too deep',
    recipe(nested(6)),
    ['/steps/0/steps/0/steps/0/steps/0/steps/0/steps: is nested deeper than 5 levels of steps'],
  ],
  [
    'too many',
    recipe(Array.from({ length: 201 }, (_, i) => set(`s${i}`))),
    ['/steps: must be at most 200 steps in all, not 201'],
  ],
  [
    'so many that looking at each beside all others would never end',
    recipe(Array.from({ length: 5_000 }, (_, i) => set(`s${i}`))),
    ['/steps: must be at most 200 steps in all, not 5000'],
  ],
  ['too large', recipe([set('a', 'x'.repeat(262_144))]), [': must be at most 256 KB of JSON']],
])('fault: %s', (_, value, expected) => {
  expect(linesOf(value)).toEqual(expected)
  expect(validateDefinition(value).definition).toBeNull()
})

test.each([
  ['when', recipe([set('a', 1, { when: '1 +' })]), '/steps/0/when'],
  ['a template', recipe([{ id: 'a', kind: 'fail', message: '{{ x' }]), '/steps/0/message'],
  ['an expression deep in a tree', recipe([set('a', { b: [expr('(')] })]), '/steps/0/value/b/0'],
  ['a case', recipe([branch({ cases: [{ when: ')', steps: [set('left')] }] })]), '/steps/0/cases/0/when'],
])('a fault of the language in %s is reported at its place', (_, value, pointer) => {
  const { faults } = validateDefinition(value)
  expect(faults.length).toBeGreaterThan(0)
  for (const fault of faults) expect(fault.pointer).toMatch(new RegExp(`^${pointer}(/\\$expr)?$`))
})

test('faults of shape and of meaning come in one report', () => {
  const lines = linesOf(
    recipe([set('a', 1, { color: 1, retry: { max_attempts: 99, backoff: 'x' } }), set('a', expr('steps.zz.output'))], {
      slug: 'No',
    }),
  )
  expect(lines.toSorted()).toEqual([
    '/slug: must match [a-z][a-z0-9-]{1,62}',
    '/steps/0/color: is not a field of a step of kind transform',
    '/steps/0/retry/backoff: must be a duration such as 30s, 5m or 1h30m',
    '/steps/0/retry/max_attempts: must be at most 20',
    '/steps/1/id: a is already the id of /steps/0',
    '/steps/1/value/$expr: there is no step zz',
  ])
})

test.each([
  [
    'steps of a branch, after it',
    [branch(), set('z', expr('[steps.left.output, steps.right.error, steps.other.status, steps.fork.output]'))],
  ],
  ['a step that goto returns to', [set('a', expr('steps.b.error')), set('b', 1, { on_error: { goto: 'a' } })]],
  [
    'a branch within a loop of gotos',
    [branch({ default: [set('other', expr('steps.left.output'))] }), set('b', 1, { on_error: { goto: 'fork' } })],
  ],
  [
    'loops that overlap',
    [
      set('a', expr('steps.d.error')),
      set('b'),
      set('c', 1, { on_error: { goto: 'a' } }),
      set('d', 1, { on_error: { goto: 'c' } }),
    ],
  ],
  [
    'earlier steps, from within a foreach within a branch',
    [set('a'), branch({ default: [foreach({ steps: [set('b', expr('[steps.a.output, item]'))] })] })],
  ],
  ['inputs that admit more', [set('a', expr('input.anything'))]],
])('may refer to: %s', (_, steps) => {
  expect(linesOf(recipe(steps, { inputs: { properties: { list: {}, a: {} }, additionalProperties: true } }))).toEqual(
    [],
  )
})

test('a step after the last one that goto can return from is still out of reach', () => {
  const steps = [set('a', expr('steps.c.output')), set('b', 1, { on_error: { goto: 'a' } }), set('c')]
  expect(linesOf(recipe(steps))).toEqual(['/steps/0/value/$expr: step c cannot have run before this'])
})

test('a definition of any depth answers a fault instead of a crash', () => {
  let value: unknown = 1
  for (let i = 0; i < 100_000; i++) value = [value]
  expect(linesOf(recipe([set('a', value)]))).toHaveLength(1)
})

test('member names that would change an object are refused', () => {
  expect(
    linesOf(JSON.parse('{"name":"x","steps":[{"id":"a","kind":"transform","value":{"__proto__":{"polluted":1}}}]}')),
  ).toEqual(['/steps/0/value/__proto__: is not an allowed name'])
})

test('never throws, and a definition is returned exactly where there is no fault', () => {
  const words = fc.constantFrom(
    'id',
    'kind',
    'steps',
    'cases',
    'default',
    'items',
    'as',
    'when',
    'retry',
    'request',
    'url',
    'on_error',
    'goto',
    'inputs',
    '$expr',
    'value',
  )
  const values = fc.constantFrom<unknown>(
    'a',
    'foreach',
    'branch',
    'http',
    'wait',
    'transform',
    '{{ steps.a }}',
    '{{',
    'steps.a',
    1,
    null,
    true,
  )
  const tree = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 6 },
      values,
      fc.array(tie('value'), { maxLength: 4 }),
      fc.dictionary(words, tie('value'), { maxKeys: 6 }),
    ),
  })).value
  const anything = fc.oneof(
    fc.anything(),
    fc.json().map((text) => JSON.parse(text) as unknown),
    tree,
    tree.map((steps) => recipe([steps])),
    tree.map((steps) => recipe(steps)),
  )
  fc.assert(
    fc.property(anything, (value) => {
      const { definition, faults } = validateDefinition(value)
      expect(definition === null).toBe(faults.length > 0)
    }),
    { numRuns: 1_000 },
  )
})

test('any single field of a good definition may be replaced by anything without a crash', () => {
  const spots: string[][] = []
  const walk = (value: unknown, path: string[]) => {
    if (typeof value !== 'object' || value === null) return
    for (const [key, item] of Object.entries(value)) {
      spots.push([...path, key])
      walk(item, [...path, key])
    }
  }
  walk(full, [])
  fc.assert(
    fc.property(fc.constantFrom(...spots), fc.jsonValue(), (path, value) => {
      const copy = structuredClone(full) as unknown as JsonObject
      const owner = path.slice(0, -1).reduce((at, key) => at[key] as JsonObject, copy)
      owner[path.at(-1)!] = value as JsonObject
      expect(Array.isArray(validateDefinition(copy).faults)).toBe(true)
    }),
    { numRuns: 500 },
  )
})
