import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { liquidFilters } from '../../../src/lib/language/liquid-filters.ts'
import { LanguageError } from '../../../src/lib/language/scope.ts'
import { checkTemplate, renderText } from '../../../src/lib/language/template.ts'

const scope = {
  input: { x: 4, half: 0.5, text: 'abc', list: [3, 1, 2], map: { a: 1 }, nothing: null, yes: true, html: '<b>hi</b>' },
  steps: { each: { output: [{ text: 'first' }, { text: 'second' }] } },
  now: '2026-03-29T00:30:00.000Z',
}
const render = (source: string) => renderText(source, scope)

test.each([
  ['Send {{ steps.each.output.size }} notes?', 'Send 2 notes?'],
  ["{{ steps.each.output | map: 'text' | join: '\\n' }}", 'first\nsecond'],
  ['{{ input.map }} {{ input.list }}', '{"a":1} [3,1,2]'],
  ['{{ input.x }} {{ input.half }} {{ 3.0 }} {{ input.yes }} {{ input.nothing }}.', '4 0.5 3 true .'],
  ['{% capture c %}{{ input.map }}{% endcapture %}[{{ c }}]', '[{"a":1}]'],
  ['{% for n in input.list %}{{ n }}{% unless forloop.last %},{% endunless %}{% endfor %}', '3,1,2'],
  ['{% if input.nope %}a{% else %}b{% endif %}', 'b'],
  ['{% assign y = input.x | times: 2 %}{{ y }}', '8'],
  ['{{ input.nope | default: "none" }}', 'none'],
  ["{{ now | date: '%Y-%m-%d %H:%M' }}", '2026-03-29 00:30'],
  ["{{ now | date: '%H:%M', 'Europe/Berlin' }}", '01:30'],
  ["{{ 0 | date: '%Y' }}", '1970'],
  ['{{ input.html }} {{ input.html | escape }} {{ input.html | strip_html }}', '<b>hi</b> &lt;b&gt;hi&lt;/b&gt; hi'],
  ['{{ input.map | json }} {{ input.text | sha256 | slice: 0, 8 }}', '{"a":1} ba7816bf'],
  ['{% raw %}{{ input.x }}{% endraw %}', '{{ input.x }}'],
  ['no braces at all, { "json": true }', 'no braces at all, { "json": true }'],
])('%s', (source, expected) => {
  expect(render(source)).toBe(expected)
})

test('an absent name is empty and reported once a rendering; a null, a default and a condition are not', () => {
  const warnings: string[] = []
  const source =
    '{{ input.nope }}{{ input.nope | upcase }}{{ input.nothing }}{{ a.b | default: 1 }}{% if c %}{% endif %}{% for n in input.list %}{{ d }}{% endfor %}'
  expect(renderText(source, scope, (message) => warnings.push(message))).toBe('1')
  expect(warnings).toEqual(['input.nope is absent and rendered as nothing.', 'd is absent and rendered as nothing.'])
  renderText('{{ input.nope }}', scope, (message) => warnings.push(message))
  expect(warnings).toHaveLength(3)
})

test.each([
  ['{{ x', /not closed/],
  ['{% if x %}', /not closed/],
  ["{{ 'a' | nope }}", 'Undefined filter: nope'],
  ["{% include 'a' %}", 'Tag "include" not found'],
  ["{% render 'a' %}", 'Tag "render" not found'],
  ["{% layout 'a' %}", 'Tag "layout" not found'],
  ['{{ input.list | sample }}', 'Undefined filter: sample'],
  ["{{ input.list | where_exp: 'i', 'i > 1' }}", 'Undefined filter: where_exp'],
  ['{% if a %}'.repeat(51), 'more than 50 blocks inside each other'],
  ['x{{ 1 }}'.repeat(20_000), '100000 are allowed'],
])('%s is a fault when it is written', (source, message) => {
  expect(checkTemplate(source).faults).toEqual([expect.stringMatching(message)])
  expect(() => render(source)).toThrow(message)
})

test.each([
  ["{{ 'now' | date: '%Y' }}", "the machine's clock"],
  ["{{ 'today' | date: '%Y' }}", "the machine's clock"],
  ["{{ '2026-03-01T10:00:00' | date: '%Y' }}", 'not an ISO-8601 date'],
])('%s is refused: it would depend on the machine', (source, message) => {
  expect(() => render(source)).toThrow(message)
})

test('references are the names of the scope, without what the template assigns and loops over', () => {
  const source =
    "{% assign a = steps.x.output %}{% for i in input.items %}{{ i.title }}{{ forloop.index }}{% endfor %}{{ a.b }}{{ steps['y'].output[0].z }}{{ steps[input.k].q | default: run.id }}"
  expect(checkTemplate(source).references).toEqual(
    expect.arrayContaining([
      { root: 'steps', path: ['x', 'output'] },
      { root: 'input', path: ['items'] },
      { root: 'steps', path: ['y', 'output', '0', 'z'] },
      { root: 'steps', path: [] },
      { root: 'input', path: ['k'] },
      { root: 'run', path: ['id'] },
    ]),
  )
  const roots = new Set(checkTemplate(source).references.map(({ root }) => root))
  expect([...roots].toSorted()).toEqual(['input', 'run', 'steps'])
})

describe('hostile input', () => {
  test('reaches no prototype', () => {
    expect(
      render(
        '{{ input.__proto__ }}{{ input.constructor.name }}{{ constructor }}{{ input.text.constructor }}{{ input.list.map }}',
      ),
    ).toBe('')
    expect(render('{% assign __proto__ = input.map %}{{ __proto__.a }}')).toBe('1')
    expect(({} as Record<string, unknown>)['a']).toBeUndefined()
  })

  test('assignments and counters stay in their rendering', () => {
    expect(render('{% increment input %}{% assign steps = 1 %}{{ steps }}')).toBe('01')
    expect(render('{{ input.x }}')).toBe('4')
  })

  test.each([
    ['a loop in a loop', '{% for a in (1..3000) %}{% for b in (1..3000) %}x{% endfor %}{% endfor %}'],
    [
      'a loop that prints nothing',
      '{% for a in (1..3000) %}{% for b in (1..3000) %}{% assign c = b %}{% endfor %}{% endfor %}',
    ],
    ['a huge range', '{% for a in (1..100000000) %}{% endfor %}'],
    [
      'a text that doubles',
      "{% assign s = 'xxxxxxxx' %}{% for i in (1..40) %}{% assign s = s | append: s %}{% endfor %}",
    ],
    [
      'long text in a loop',
      `{% capture c %}{% for i in (1..90000) %}${'x'.repeat(50_000)}{% endfor %}{% endcapture %}`,
    ],
    ['a search in a loop', '{% for i in (1..40000) %}{% if big contains "zz" %}{% endif %}{% endfor %}'],
    ['a filter in a loop', "{% for i in (1..40000) %}{% assign f = list | has: 'x', 1 %}{% endfor %}"],
    ['json in a loop', '{% for i in (1..40000) %}{% assign f = list | json %}{% endfor %}'],
    ['more than two megabytes', '{% for i in (1..500) %}{{ big }}{% endfor %}'],
  ])('%s ends by its budget', (_, source) => {
    const large = { big: 'y'.repeat(5000), list: Array.from({ length: 2000 }, (__, index) => ({ index })) }
    expect(() => renderText(source, large)).toThrow(LanguageError)
  })

  test('any text is rendered or refused with a LanguageError', () => {
    const words = [
      '{{',
      '}}',
      '{%',
      '%}',
      ' input',
      '.x',
      '[0]',
      ' | ',
      'map: ',
      "'a'",
      'if ',
      'endif',
      'for i in ',
      '(1..3)',
      "secret('a.b')",
      '-',
      'x',
    ]
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 12 }), (parts) => {
        const source = parts.join('')
        try {
          expect(typeof render(source)).toBe('string')
          expect(checkTemplate(source).faults).toEqual([])
        } catch (error) {
          expect(error).toBeInstanceOf(LanguageError)
        }
      }),
      { numRuns: 500 },
    )
  })
})

test('no filter that is kept is asynchronous, random or reads the clock', () => {
  expect(Object.keys(liquidFilters)).not.toEqual(expect.arrayContaining(['sample']))
  for (const name of Object.keys(liquidFilters)) {
    const once = attempt(`{{ list | ${name} }}`)
    expect(once, name).toBe(attempt(`{{ list | ${name} }}`))
    expect(once, name).not.toContain('[object')
  }
})

function attempt(source: string): string {
  try {
    return renderText(source, { list: ['b', 'a'] })
  } catch (error) {
    expect(error).toBeInstanceOf(LanguageError)
    return (error as LanguageError).message
  }
}
