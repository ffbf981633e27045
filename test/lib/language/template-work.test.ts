import { Token, toValueSync } from 'liquidjs'
import { afterEach, describe, expect, test, vi } from 'vitest'
import type { Json } from '../../../src/lib/json.ts'
import { createContext, liquidEngine } from '../../../src/lib/language/liquid.ts'
import { liquidFilters } from '../../../src/lib/language/liquid-filters.ts'
import { nodesOf, referencesOf } from '../../../src/lib/language/liquid-outline.ts'
import { LanguageError } from '../../../src/lib/language/scope.ts'
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

describe('a list is never made a text unseen', () => {
  const count = 100_000
  const list = Array<Json>(count).fill(7)
  /** Tells of each time that all of it is read, without being read. */
  class Watched extends Array<Json> {
    static read = 0
    override join(): string {
      Watched.read += 1
      return ''
    }
  }
  const watched = Watched.from([1, 2, 3]) as Json

  /** What one call of a filter counts; nothing if it is refused for what it is given. */
  function chargeOf(name: string, value: unknown, args: unknown[]): number | undefined {
    const context = createContext(liquidEngine(), {})
    let used = 0
    vi.spyOn(context.memoryLimit, 'use').mockImplementation((units) => void (used += Math.max(0, Number(units) || 0)))
    try {
      const filter = liquidFilters[name] as (...all: unknown[]) => unknown
      toValueSync(filter.call({ context, liquid: liquidEngine() }, value, ...args) as IterableIterator<unknown>)
    } catch (error) {
      if (error instanceof LanguageError) return undefined
      throw error
    }
    return used
  }

  const positions = Object.keys(liquidFilters).flatMap((name) => [0, 1, 2].map((position) => [name, position] as const))
  test.each(positions)('%s refuses a list as argument %i, or counts it', (name, position) => {
    const value = name.startsWith('date') ? '2026-03-01T10:00:00Z' : 'dGV4dA=='
    const args: unknown[] = ['a', 'a', 'a'].slice(0, position)
    const used = chargeOf(name, value, [...args, list])
    if (used !== undefined) expect(used).toBeGreaterThanOrEqual(count)
  })

  /** These hand references on, and look inside of no element, or of each for one property. */
  const references = 'compact concat default first last pop push reverse shift size slice uniq unshift'.split(' ')
  const byProperty = 'find group_by has map reject where'.split(' ')
  const deep = Object.keys(liquidFilters).filter((name) => ![...references, ...byProperty].includes(name))
  test.each(deep)('%s refuses a list of lists, or counts it', (name) => {
    const used = chargeOf(name, [list], ['append', 'prepend'].includes(name) ? ['a'] : [])
    if (used !== undefined) expect(used).toBeGreaterThanOrEqual(count)
  })

  const grouped = '{% assign g = none | push: l | group_by: "x" %}'
  test.each([
    ['arguments of slice', '{{ "x" | slice: l }}', 'slice takes a number'],
    ['the second argument of slice', '{{ "x" | slice: 0, l }}', 'slice takes a number'],
    ['the length of truncate', '{{ "xyz" | truncate: l }}', 'truncate takes a number'],
    ['what is added', '{{ 1 | plus: l }}', 'plus takes texts and numbers'],
    ['the end of a range', '{% for x in (1..l) %}{% endfor %}', 'The end of a range takes a number'],
    ['the beginning of a range', '{{ (l..2) | size }}', 'The end of a range takes a number'],
    ['limit', '{% for x in small limit: l %}{% endfor %}', 'limit takes a number'],
    ['offset', '{% for x in small offset: l %}{% endfor %}', 'offset takes a number'],
    ['cols', '{% tablerow x in small cols: l %}{% endtablerow %}', 'cols takes a number'],
    ['limit of a table', '{% tablerow x in small limit: l %}{% endtablerow %}', 'limit takes a number'],
    ['the name of a cycle', '{% cycle l: 1, 2 %}', 'The name of a cycle takes texts'],
    ['what is summed', `${grouped}{{ g | sum: "items" }}`, 'sum takes texts and numbers'],
    ['what sorts', `${grouped}{{ g | sort: "items" }}`, 'sort takes texts and numbers'],
    ['what sorts naturally', `${grouped}{{ g | sort_natural: "items" }}`, 'sort_natural takes texts and numbers'],
    ['an object', '{{ "x" | append: o }}', 'append takes texts and numbers'],
  ])('%s', (_, source, message) => {
    Watched.read = 0
    expect(() => renderText(source, { l: watched, small: [1, 2], o: { a: 1 }, none: [] })).toThrow(message)
    expect(Watched.read).toBe(0)
  })

  test('a key that is a list is the name of nothing', () => {
    Watched.read = 0
    const source = '{{ o[l] }}{{ [l] }}{% assign w = none | push: o | where: "a[items]" | size %}{{ w }}'
    expect(renderText(source, { l: watched, o: { a: { x: 1 }, items: watched }, none: [] })).toBe('0')
    expect(Watched.read).toBe(0)
  })

  test.each([
    ['texts as long as numbers never are', '{{ "x" | slice: t }}', { t: '1'.repeat(101) }, 'slice takes a number'],
    [
      'a list that unfolds, in a cycle',
      `{% assign b = none | push: l %}${'{% assign b = b | push: b %}'.repeat(30)}{% cycle b %}`,
      { none: [], l: [1] },
      tooMuch,
    ],
    [
      'members that are counted',
      '{% for i in (1..1000) %}{{ o.size }}{% endfor %}',
      { o: Object.fromEntries(list.slice(0, 5_000).map((_, i) => [`k${i}`, i])) },
      tooMuch,
    ],
    [
      'members of what may be empty',
      '{% for i in (1..1000) %}{% if o == empty %}{% endif %}{% endfor %}',
      { o: Object.fromEntries(list.slice(0, 5_000).map((_, i) => [`k${i}`, i])) },
      tooMuch,
    ],
    ['elements that may be empty', '{{ l | where: "a", empty }}', { l: [{ a: {} }] }, 'not with empty or blank'],
    [
      'members that are grouped',
      '{{ o | group_by: "a" }}',
      { o: Object.fromEntries(list.map((_, i) => [`k${i}`, i])) },
      tooMuch,
    ],
  ] satisfies [string, string, { [name: string]: Json }, string][])(
    'nor is other work: %s',
    (_, source, scope, message) => {
      expect(() => renderText(source, scope)).toThrow(message)
    },
  )

  test('numbers and texts are what they were', () => {
    const source =
      '{{ "abcdef" | slice: "1", "2" }} {{ t | slice: -2, 1 }} {{ t | truncate: n, "" }} {{ a | sum: "n" }} {{ a | sort: "n" | map: "n" | join }}{% for i in (1..n) limit: "2" %} {{ i }}{% endfor %}'
    expect(renderText(source, { t: 'abcdef', n: '3', a: [{ n: 2 }, { n: 1 }] })).toBe('bc e abc 3 1 2 1 2')
  })
})

test('a digest of five thousand items of a feed is rendered', () => {
  const items = Array.from({ length: 5_000 }, (_, index) => ({
    title: ` Title ${index} & more `.padEnd(60, 'x'),
    link: `https://example.org/articles/${index}`,
    summary: `<p>Summary <b>${index}</b> ${'word '.repeat(100)}`.slice(0, 496).concat('</p>'),
  }))
  const source =
    '{% for item in items %}- [{{ item.title | strip | escape }}]({{ item.link }}) {{ item.summary | strip_html | truncate: 200 }}\n{% endfor %}'
  expect(renderText(source, { items }).split('\n')).toHaveLength(5_001)
})
