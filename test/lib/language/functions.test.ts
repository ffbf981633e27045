import { describe, expect, test } from 'vitest'
import { evaluateExpression } from '../../../src/lib/language/expression.ts'
import { functions } from '../../../src/lib/language/functions/index.ts'
import { macroNames } from '../../../src/lib/language/macros.ts'

const scope = {
  input: {
    n: 4,
    text: 'Straße, Käse',
    list: [3, 1, 2],
    rows: [
      { name: 'b', price: 2.5, tags: ['x'] },
      { name: 'a', price: 10, tags: [] },
      { name: 'c', price: null, tags: ['x', 'y'] },
    ],
    map: { k: 'v', deep: { list: [{ c: 7 }], 'a.b': 1 } },
  },
  now: '2026-03-29T00:30:00.000Z',
}

/** One golden line or more for every function and macro: what docs/expressions.md promises. */
const golden: Record<string, [string, unknown][]> = {
  slice: [
    ['input.list.slice(0, 2)', [3, 1]],
    ['slice(input.list, -1)', [2]],
    ['"abcdef".slice(1, 3)', 'bc'],
    ['[].slice(0, 10)', []],
  ],
  sort_by: [
    ['sort_by(input.list)', [1, 2, 3]],
    ['input.rows.sort_by("price").map(r, r.name)', ['b', 'a', 'c']],
    ['input.rows.sort_by("price", "desc").map(r, r.name)', ['a', 'b', 'c']],
    ['input.rows.sort_by(r, -double(r.tags.size())).map(r, r.name)', ['c', 'b', 'a']],
    ['sort_by(["b", "B", "a"])', ['B', 'a', 'b']],
  ],
  reverse: [['reverse([1, 2, 3])', [3, 2, 1]]],
  sum: [
    ['sum([1, 2.5])', 3.5],
    ['sum([])', 0],
    ['input.rows.filter(r, r.price != null).map(r, r.price).sum()', 12.5],
  ],
  min: [
    ['min(3, 1, 2)', 1],
    ['input.list.min()', 1],
    ['min("b", "a")', 'a'],
  ],
  max: [
    ['max([3, 10, 2])', 10],
    ['max(timestamp(now), timestamp("2020-01-01"))', '2026-03-29T00:30:00.000Z'],
  ],
  unique: [['unique([1, 1.0, "1", {"a": 1, "b": 2}, {"b": 2, "a": 1}])', [1, '1', { a: 1, b: 2 }]]],
  flatten: [
    ['flatten([1, [2, [3]]])', [1, 2, [3]]],
    ['flatten([1, [2, [3]]], 2)', [1, 2, 3]],
  ],
  join: [
    ['join(["a", 1, null, true], "-")', 'a-1--true'],
    ['["a", "b"].join()', 'ab'],
  ],
  first: [
    ['first(input.list)', 3],
    ['first([])', null],
  ],
  last: [['input.list.last()', 2]],
  size: [
    ['size("a😀b")', 3],
    ['input.list.size()', 3],
    ['size({"a": 1})', 1],
  ],
  contains: [['"hello".contains("ell")', true]],
  startsWith: [['"hello".startsWith("he")', true]],
  endsWith: [['"hello".endsWith("he")', false]],
  indexOf: [
    ['"hello".indexOf("l")', 2],
    ['"hello".indexOf("z")', -1],
  ],
  substring: [
    ['"hello".substring(1, 3)', 'el'],
    ['"hello".substring(3)', 'lo'],
  ],
  matches: [
    ['"order-17".matches("^order-[0-9]+$")', true],
    ['"ORDER".matches("(?i)order")', true],
    ['"x".matches("y")', false],
  ],
  lower: [['lower("ÄB")', 'äb']],
  upper: [['"äb".upper()', 'ÄB']],
  trim: [['trim("  a b ")', 'a b']],
  split: [['"a,b,,c".split(",")', ['a', 'b', '', 'c']]],
  replace: [['"a.b.c".replace(".", "$&")', 'a$&b$&c']],
  int: [
    ['int(3.9)', 3],
    ['int(-3.9)', -3],
    ['int("42")', 42],
    ['int(timestamp("1970-01-01T00:01:00Z"))', 60],
  ],
  double: [
    ['double("2.50")', 2.5],
    ['double(" -1e3 ")', -1000],
  ],
  bool: [
    ['bool("true")', true],
    ['bool("0")', false],
  ],
  string: [
    ['string(3.0)', '3'],
    ['string(1.5)', '1.5'],
    ['string(true)', 'true'],
    ['string([1, "a"])', '[1,"a"]'],
    ['string(timestamp(now))', '2026-03-29T00:30:00.000Z'],
    ['string(null)', 'null'],
  ],
  type: [
    [
      '[null, true, 1, "a", [], {}, timestamp(now), duration("1s")].map(x, type(x))',
      ['null', 'bool', 'number', 'string', 'list', 'map', 'timestamp', 'duration'],
    ],
  ],
  round: [
    ['round(2.5)', 3],
    ['round(-2.5)', -3],
    ['round(1.005, 2)', 1.01],
  ],
  floor: [['floor(-1.5)', -2]],
  ceil: [['ceil(1.2)', 2]],
  abs: [['abs(-3)', 3]],
  timestamp: [
    ['timestamp("2026-03-29T02:30:00+02:00")', '2026-03-29T00:30:00.000Z'],
    ['timestamp("2026-03-29")', '2026-03-29T00:00:00.000Z'],
    ['timestamp("Wed, 21 Oct 2015 07:28:00 GMT")', '2015-10-21T07:28:00.000Z'],
    ['timestamp(0)', '1970-01-01T00:00:00.000Z'],
  ],
  duration: [
    ['duration("90m")', '1h30m'],
    ['timestamp(now) + duration("24h")', '2026-03-30T00:30:00.000Z'],
    ['now - duration("PT30M")', '2026-03-29T00:00:00.000Z'],
    ['timestamp(now) - timestamp("2026-03-28T00:00:00Z")', '1d30m'],
    ['timestamp(now) - timestamp("2026-03-28T00:00:00Z") > duration("1d")', true],
  ],
  format_date: [
    ['format_date(now, "yyyy-MM-dd HH:mm")', '2026-03-29 00:30'],
    ['format_date(now, "EEE, d MMM yyyy HH:mm XXX", "Europe/Berlin")', 'Sun, 29 Mar 2026 01:30 +01:00'],
    ['format_date(timestamp(now) + duration("1h"), "HH:mm xxx", "Europe/Berlin")', '03:30 +02:00'],
    ['format_date(now, "EEEE MMMM M yy h:mm a \'at\' ss.SSS")', 'Sunday March 3 26 12:30 AM at 00.000'],
    ['format_date("2026-07-01T23:59:00Z", "yyyy/M/d", "Asia/Kolkata")', '2026/7/2'],
  ],
  getFullYear: [['timestamp(now).getFullYear("America/New_York")', 2026]],
  getMonth: [['timestamp(now).getMonth()', 2]],
  getDate: [['timestamp(now).getDate("America/New_York")', 28]],
  getDayOfMonth: [['timestamp(now).getDayOfMonth()', 28]],
  getDayOfWeek: [['timestamp(now).getDayOfWeek()', 0]],
  getDayOfYear: [['timestamp(now).getDayOfYear()', 87]],
  getHours: [
    ['timestamp(now).getHours("Europe/Berlin")', 1],
    ['duration("90m").getHours()', 1],
  ],
  getMinutes: [
    ['timestamp(now).getMinutes()', 30],
    ['duration("90m").getMinutes()', 90],
  ],
  getSeconds: [['duration("1m5s").getSeconds()', 65]],
  getMilliseconds: [['timestamp("2026-01-01T00:00:00.123Z").getMilliseconds()', 123]],
  get: [
    ['get(input, "map.deep.list[0].c")', 7],
    ['get(input, "map.deep[\'a.b\']")', 1],
    ['get(input, "nope.deeper", "none")', 'none'],
    ['get(null, "a")', null],
  ],
  keys: [['keys({"b": 1, "a": 2})', ['b', 'a']]],
  values: [['values({"b": 1, "a": 2})', [1, 2]]],
  merge: [['merge({"a": 1, "b": 1}, {"b": 2}, {"c": 3})', { a: 1, b: 2, c: 3 }]],
  hash: [
    ['hash({"b": 1, "a": 2})', 'd3626ac30a87e6f7a6428233b3c68299976865fa5508e4267c5415c76af7a772'],
    ['hash({"a": 2, "b": 1.0}) == hash({"b": 1, "a": 2})', true],
  ],
  json: [['json({"a": [1, null]})', '{"a":[1,null]}']],
  parse_json: [['parse_json("{\\"a\\": [1]}").a[0]', 1]],
  all: [['input.list.all(x, x > 0)', true]],
  exists: [['input.list.exists(x, x > 2)', true]],
  exists_one: [['input.list.exists_one(x, x > 1)', false]],
  map: [
    ['input.list.map(x, x * 2)', [6, 2, 4]],
    ['input.list.map(x, x > 1, x * 2)', [6, 4]],
    ['{"a": 1, "b": 2}.map(k, k)', ['a', 'b']],
  ],
  filter: [['input.rows.filter(r, r.tags.size() > 0).map(r, r.name)', ['b', 'c']]],
  has: [
    ['has(input.n)', true],
    ['has(input.nope)', false],
    ['has(input.nope.deeper)', false],
    ['has(input.rows[2].price)', true],
  ],
  bind: [['cel.bind(x, input.n + 1, x * x)', 25]],
}

test('every function and macro has a golden example', () => {
  expect(Object.keys(golden).toSorted()).toEqual([...new Set([...Object.keys(functions), ...macroNames])].toSorted())
})

describe.each(Object.entries(golden))('%s', (_, examples) => {
  test.each(examples)('%s', (source, expected) => {
    expect(evaluateExpression(source, scope)).toEqual(expected)
  })
})

test.each([
  ['sum(["a"])', 'sum() wants a number, not a string.'],
  ['slice(1, 0)', 'slice() wants a list, not a number.'],
  ['input.list.slice(0.5)', 'slice() wants a whole number, not a number.'],
  ['flatten([1], 101)', 'flatten() dissolves at most 100 levels.'],
  ['max([])', 'max() of an empty list is not defined.'],
  ['max([1, "a"])', 'A string and a number cannot be ordered.'],
  ['int("4x")', "int() cannot read '4x' as a number."],
  ['timestamp("2026-03-29T10:00:00")', "'2026-03-29T10:00:00' is not an ISO-8601 date or time with a zone."],
  ['timestamp("2026-02-30")', "'2026-02-30' is not an ISO-8601 date or time with a zone."],
  ['duration("1 week")', "'1 week' is not a duration: write 90s, 1h30m, 2d or PT20S."],
  ['format_date(now, "YYYY")', /'YYYY' is not a date field/],
  ['format_date(now, "yyyy", "Mars/Base")', /'Mars\/Base' is not a time zone/],
  ['get(input, "a..b")', "'a..b' is not a path: write a.b[0].c."],
  ['parse_json("{")', 'The text is not JSON.'],
])('%s says what is wrong', (source, message) => {
  expect(() => evaluateExpression(source, scope)).toThrow(message)
})
