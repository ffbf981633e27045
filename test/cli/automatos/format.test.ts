import { expect, test } from 'vitest'
import { describeEvent } from '../../../src/cli/automatos/describe-event.ts'
import { collectInput, toInput } from '../../../src/cli/automatos/recipe-input.ts'
import { printFields, printTable } from '../../../src/cli/automatos/table.ts'
import { styleOf, type Terminal } from '../../../src/cli/automatos/terminal.ts'
import { displayWidth, harmless, oneLine, timeSpan, truncate } from '../../../src/cli/automatos/text.ts'

/** A terminal of so many columns that keeps its lines. */
function terminalOf(columns: number, coloured = false) {
  const lines: string[] = []
  const terminal = {
    style: styleOf(coloured),
    columns: () => columns,
    line: (text = '') => void lines.push(text),
  } as unknown as Terminal
  return { terminal, lines }
}
interface Row {
  id: string
  name: string
  note: string | null
}
const rows: Row[] = [
  { id: 'a-1', name: 'short', note: null },
  { id: 'b-22', name: 'a name that goes on and on', note: '日本語の説明' },
]
const columns = [
  { title: 'ID', of: ({ id }: Row) => id, fixed: true },
  { title: 'NAME', of: ({ name }: Row) => name, paint: (text: string) => `<${text}>` },
  { title: 'NOTE', of: ({ note }: Row) => note },
]

test('columns are aligned by what a terminal shows, and paint takes no room', () => {
  const { terminal, lines } = terminalOf(Infinity)
  printTable(terminal, rows, columns)
  expect(lines).toEqual([
    'ID    NAME                        NOTE',
    'a-1   <short>',
    'b-22  <a name that goes on and on>  日本語の説明',
  ])
})

test('on a narrow terminal the widest column gives way, one that must be copied does not', () => {
  const { terminal, lines } = terminalOf(30)
  printTable(terminal, rows, [columns[0]!, { title: 'NAME', of: ({ name }) => name }, columns[2]!])
  expect(lines).toEqual(['ID    NAME         NOTE', 'a-1   short', 'b-22  a name tha…  日本語の説…'])
  for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(30)

  const narrow = terminalOf(20)
  const name = { title: 'NAME', of: ({ name }: Row) => name }
  printTable(narrow.terminal, [{ id: 'id-of-16-letters', name: 'some name', note: null }], [columns[0]!, name])
  expect(narrow.lines[1]).toBe('id-of-16-letters  some na…')
})

test('fields without a value are left out', () => {
  const { terminal, lines } = terminalOf(20)
  printFields(terminal, [
    ['name', 'x'],
    ['none', null],
    ['longer name', 'cut off at the end'],
  ])
  expect(lines).toEqual(['name         x', 'longer name  cut off…'])
})

test('what others wrote cannot steer the terminal', () => {
  expect(oneLine('a\u001b[31mred\u001b[0m\r\n\tb\u0007\u009b2Jc\u202ed')).toBe('ared bcd')
  expect(harmless('one\r\ntwo\u001b]0;title\u0007\tx\u0000\r!')).toBe('one\ntwo\tx!')
})

test('texts are cut by columns, wide characters counting two and marks none', () => {
  expect(displayWidth('né日本🎈e\u0301')).toBe(9)
  expect(truncate('日本語', 6)).toBe('日本語')
  expect(truncate('日本語', 5)).toBe('日本…')
  expect(truncate('abc', 2)).toBe('a…')
})

test.each([
  [0, '0.0 s'],
  [9_940, '9.9 s'],
  [59_400, '59 s'],
  [60_000, '1 m 0 s'],
  [3_599_000, '59 m 59 s'],
  [7_500_000, '2 h 5 m'],
  [90_000_000, '1 d 1 h'],
])('%d ms are %s', (ms, text) => {
  expect(timeSpan(ms)).toBe(text)
})

test('inputs are JSON where they are some, and text where the recipe says so', () => {
  const schema = {
    type: 'object',
    properties: { zip: { type: 'string' }, code: { type: 'string' }, n: { type: 'integer' } },
  }
  const inputs = [
    'zip=007',
    'code=7',
    'n=7',
    'on=true',
    'list=[1]',
    'word=plain text',
    'url=http://x/?a=b',
    'n=8',
  ].reduce<string[]>((list, text) => collectInput(text, list), [])
  expect(toInput({ kept: 1, n: 1 }, inputs, schema)).toEqual({
    kept: 1,
    zip: '007',
    code: '7',
    n: 8,
    on: true,
    list: [1],
    word: 'plain text',
    url: 'http://x/?a=b',
  })
  expect(() => collectInput('no value')).toThrow('--input takes name=value')
})

test('an event of a type that this version does not know is shown by its name', () => {
  const event = { seq: 1, type: 'execution.dreaming', data: {}, created_at: '2026-11-22T08:00:00.000Z' }
  expect(describeEvent(event as never)).toBe('08:00:00.000  ● execution.dreaming')
})
