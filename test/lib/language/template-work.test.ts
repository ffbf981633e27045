import { Token } from 'liquidjs'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Json } from '../../../src/lib/json.ts'
import { liquidEngine } from '../../../src/lib/language/liquid.ts'
import { nodesOf, referencesOf } from '../../../src/lib/language/liquid-outline.ts'
import { checkTemplate, renderText, renderValue } from '../../../src/lib/language/template.ts'

afterEach(() => vi.restoreAllMocks())

const times = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, i) => text(i)).join('')
const tooMuch = 'The template does too much work.'

describe('references', () => {
  test('thousands of them are found without a walk over the text to each', () => {
    const walks = vi.spyOn(Token.prototype, 'getPosition')
    const { references, faults } = checkTemplate(times(2500, (i) => `{{ input.a${i} }}`))
    expect(faults).toEqual([])
    expect(references).toHaveLength(2500)
    expect(walks).not.toHaveBeenCalled()
  })

  test('each is told of once', () => {
    expect(checkTemplate('{{ input.a }}{{ input.a }}{{ input["a"] }}{{ input.b }}').references).toEqual([
      { root: 'input', path: ['a'] },
      { root: 'input', path: ['b'] },
    ])
  })

  test.each([
    '{{ a.b.c }} {{ a["x y"][0].z }} {{ "text".size }} {{ 1 }} {{ nil }}',
    '{{ a[b.c].d }} {{ a[b[c]] }} {{ ["q"].r }} {{ [a.b].c }}',
    '{{ a | append: b.c | default: d, allow_false: e.f | where: "g", h }}',
    '{% assign x = a.b | plus: y %}{{ x.z }}{{ y }}',
    '{{ x }}{% assign x = 1 %}{{ x }}',
    '{% capture t %}{{ u }}{% endcapture %}{{ t }}',
    '{% for i in list limit: n offset: o.p %}{{ i.v }}{{ forloop.index }}{{ w }}{% else %}{{ none }}{% endfor %}{{ i }}',
    '{% for i in (lo..hi.x) %}{{ i }}{% endfor %}',
    '{% if a == b and c contains d.e or f %}{{ g }}{% elsif h > 1 %}{{ i }}{% else %}{{ j }}{% endif %}',
    '{% unless a %}{{ b }}{% else %}{{ c }}{% endunless %}',
    '{% case a.b | upcase %}{% when c, d.e %}{{ f }}{% when "x" or g %}{{ h }}{% else %}{{ k }}{% endcase %}',
    '{% cycle a, b.c %}{% cycle g: "x", y | upcase %}{% increment n %}{{ n }}{% decrement m %}',
    '{% tablerow r in rows cols: k.l %}{{ r.s }}{{ tablerowloop.col }}{% endtablerow %}{{ r }}',
    '{% raw %}{{ a }}{% endraw %}{% comment %}{{ b }}{% endcomment %}{{ c }}',
  ])('are those that the engine itself finds in %s', (source) => {
    const liquid = liquidEngine()
    const { globals } = liquid.analyzeSync(liquid.parse(source), { partials: false })
    const expected = Object.values(globals)
      .flat()
      .map((variable) => {
        const [root, ...path] = variable.toArray()
        const dynamic = path.findIndex(Array.isArray)
        return [root, ...path.slice(0, dynamic < 0 ? path.length : dynamic).map(String)].join(' ')
      })
    const found = referencesOf(liquid.parse(source)).map(({ root, path }) => [root, ...path].join(' '))
    expect(found.toSorted()).toEqual([...new Set(expected)].toSorted())
  })

  test('every node is one, however deep it stands', () => {
    const nodes = nodesOf(
      liquidEngine().parse('{% if a %}{% for b in c %}{{ d }}{% endfor %}{% else %}{{ e }}{% endif %}'),
    )
    expect(nodes.map(({ token }) => token.getText())).toEqual(['{% if a %}', '{% for b in c %}', '{{ d }}', '{{ e }}'])
  })
})

test('a template has at most so many outputs and tags, in plain text or not', () => {
  const { faults } = checkTemplate(times(1251, (i) => `{{ a${i} }}{% if b %}{% endif %}`))
  expect(faults).toEqual(['The template has more than 2500 outputs and tags.'])
})

describe('what one rendering may do', () => {
  const loop = (body: string) => `{% for i in (1..1000) %}${body}{% endfor %}`
  const unfolding = '{% assign b = a | push: a %}' + '{% assign b = b | push: b %}'.repeat(30)
  const long = 'a'.repeat(100_000)
  const cases: [string, string, { [name: string]: Json }][] = [
    ['conditions of thousands of operands', loop(`{% if ${'a and '.repeat(5000)} a %}{% endif %}`), {}],
    ['conditions after the first', loop(`{% if a %}{% ${times(2400, () => 'elsif a %}{% ')}endif %}`), {}],
    ['thousands of filters in a row', loop(`{{ i${' | upcase'.repeat(5000)} }}`), {}],
    ['arguments of filters', loop(`{{ i${' | plus: i'.repeat(5000)} }}`), {}],
    ['paths of thousands of keys', loop(`{{ i${'.a'.repeat(5000)} }}`), {}],
    ['thousands of cases', loop(`{% case i %}${'{% when a %}'.repeat(2400)}{% endcase %}`), {}],
    ['thousands to cycle through', loop(`{% cycle ${'a,'.repeat(5000)} b %}`), {}],
    ['a list that unfolds, as JSON', `${unfolding}{{ b | json }}`, { a: [1] }],
    ['a list that unfolds, as text', `${unfolding}{{ b | join }}`, { a: [1] }],
    ['a list that unfolds, where it is written', `${unfolding}{{ b }}`, { a: [1] }],
    ['a list that unfolds, compared', `${unfolding}{% if b == b %}{% endif %}`, { a: [1] }],
    ['a list that unfolds, as a case', `${unfolding}{% case b %}{% when b %}{% endcase %}`, { a: [1] }],
    ['copies of a long list', loop('{% for x in a limit: 1 reversed %}{% endfor %}'), { a: Array(50_000).fill(0) }],
    [
      'searches of a long text for another',
      loop('{% if a contains b %}{% endif %}'),
      { a: long, b: `${long.slice(1)}b` },
    ],
    ['replacing a long text', loop('{{ a | replace_last: b, "" }}'), { a: long, b: `${long.slice(1)}b` }],
    [
      'long paths of properties',
      '{% assign p = "a" %}{% for i in (1..14) %}{% assign p = p | append: ".a" | append: p %}{% endfor %}{{ a | where: p }}',
      { a: Array(100).fill({ a: 1 }) },
    ],
  ]

  test.each(cases)('%s are counted', (_, source, scope) => {
    expect(() => renderText(source, scope)).toThrow(tooMuch)
  })

  test('as a value too', () => {
    expect(() => renderValue(`{{ a${' | where: "a"'.repeat(100)} }}`, { a: Array(10_000).fill({ a: 1 }) })).toThrow(
      tooMuch,
    )
  })

  test.each([
    '{% for i in (9007199254740992..9007199254740994) %}{% endfor %}',
    '{% assign n = 9007199254740990 | plus: 9 %}{% for i in (n..n) %}{% endfor %}',
    '{{ (-9007199254740994..-9007199254740992) | size }}',
    '{{ (9007199254740992..9007199254740994).size }}',
  ])('numbers that cannot be counted up to are no range: %s', (source) => {
    expect(() => renderText(source, {})).toThrow('A range ends at a number that is too large.')
  })

  test('a property is a path and no range', () => {
    const source = '{{ a | where: "[(9007199254740992..9007199254740994)]" }}'
    expect(() => renderText(source, { a: [{ a: 1 }] })).toThrow('a property is named by its path')
  })

  test('a list that a loop collects and writes is no such thing', () => {
    const source = '{% for i in (1..500) %}{% assign all = all | push: i %}{% endfor %}{{ all | join: "," | size }}'
    expect(renderText(source, { all: [] })).toBe('1891')
  })

  test('cases compare as the engine does', () => {
    const source = '{% case a %}{% when 1, 2 %}low{% when b %}b{% when empty %}none{% else %}other{% endcase %}'
    const said = [1, 2, 'x', '', 7].map((a) => renderText(source, { a, b: 'x' }))
    expect(said).toEqual(['low', 'low', 'b', 'none', 'other'])
  })
})
