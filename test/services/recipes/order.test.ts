import { expect, test } from 'vitest'
import { recipeJsonSchema } from '../../../src/services/recipes/schema-document.ts'
import { validateDefinition } from '../../../src/services/recipes/validate.ts'

const set = (id: string, more: object = {}, value: unknown = 1) => ({ id, kind: 'transform', value, ...more })
const sees = (id: string, other: string, more: object = {}) => set(id, more, { $expr: `steps.${other}.output` })
const stop = (id: string, more: object = {}) => ({ id, kind: 'fail', message: 'No.', ...more })
const branch = (id: string, steps: object[], more: object = {}) => ({
  id,
  kind: 'branch',
  cases: [{ when: 'true', steps }],
  ...more,
})
const linesOf = (steps: unknown, more: object = {}) =>
  validateDefinition({ name: 'A recipe', steps, ...more }).faults.map(({ pointer, detail }) => `${pointer}: ${detail}`)

const diamond = [
  set('top'),
  set('left', { needs: ['top'] }),
  set('right', { needs: ['top'] }),
  set('join', { needs: ['left', 'right'] }, { $expr: '[steps.top.output, steps.left.output, steps.right.output]' }),
]

test.each<[string, unknown[]]>([
  ['a diamond, whose join sees all of it', diamond],
  ['a need of a step that stands behind', [sees('c', 'b', { needs: ['b'] }), set('a', { needs: [] }), set('b')]],
  ['what a branch that is needed holds', [branch('fork', [set('inner')]), sees('b', 'inner', { needs: ['fork'] })]],
  ['a step around, from within a branch', [set('a'), branch('fork', [sees('inner', 'a')], { needs: ['a'] })]],
  [
    'a jump back, of which those that are done again see the failure',
    [
      sees('a', 'c', { needs: [] }),
      sees('b', 'c', { needs: ['a'] }),
      set('c', { needs: ['b'], on_error: { goto: 'a' } }),
      sees('d', 'c', { needs: ['c'] }),
      set('e', { needs: [] }),
    ],
  ],
  ['a jump ahead over what always fails', [set('a', { on_error: { goto: 'c' } }), stop('b'), set('c')]],
  ['a step behind a failure under a condition', [stop('a', { when: 'input.x == 1' }), set('b')]],
  ['a step behind a failure that may be', [stop('a', { on_error: 'continue' }), set('b')]],
])('may be written: %s', (_, steps) => {
  expect(linesOf(steps)).toEqual([])
})

test.each<[string, unknown[], string[]]>([
  [
    'names of no step, of another list, and twice',
    [branch('fork', [set('inner')]), set('b', { needs: ['z', 'inner', 'fork', 'fork'] })],
    [
      '/steps/1/needs/0: there is no step z',
      '/steps/1/needs/1: inner is in another list of steps; needs stays within its own',
      '/steps/1/needs/3: fork is named already',
    ],
  ],
  ['the step itself', [set('a', { needs: ['a'] })], ['/steps/0/needs: must not name the step itself']],
  ['no list', [set('a', { needs: 'b' })], ['/steps/0/needs: must be a list']],
  [
    'a cycle, whose last link is the order of the document',
    [set('a', { needs: ['c'] }), set('b', { needs: ['a'] }), set('c')],
    ['/steps/0/needs: makes steps wait for each other: a needs c needs b needs a'],
  ],
  [
    'a cycle in the list of a branch',
    [branch('fork', [set('a', { needs: ['b'] }), set('b', { needs: ['a'] })])],
    ['/steps/0/cases/0/steps/0/needs: makes steps wait for each other: a needs b needs a'],
  ],
  [
    'a step beside',
    [set('a'), sees('b', 'a', { needs: [] })],
    ['/steps/1/value/$expr: step a need not have ended before this: b does not need a'],
  ],
  [
    'what a branch beside holds, from within another',
    [branch('one', [set('inner')], { needs: [] }), branch('two', [sees('x', 'inner')], { needs: [] })],
    ['/steps/1/cases/0/steps/0/value/$expr: step inner need not have ended before this: two does not need one'],
  ],
  [
    'a step that follows',
    [sees('a', 'b', { needs: [] }), set('b')],
    ['/steps/0/value/$expr: step b cannot have run before this'],
  ],
  [
    'a jump to a step beside',
    [set('a'), set('b', { needs: [], on_error: { goto: 'a' } })],
    ['/steps/1/on_error/goto: a neither follows this step nor comes before it'],
  ],
  [
    'a jump back to a step that another beside builds on',
    [set('a'), set('b', { needs: ['a'] }), set('c', { needs: ['a'], on_error: { goto: 'a' } })],
    ['/steps/2/on_error/goto: b follows a and may run beside this step: what it builds on would be done again'],
  ],
  [
    'steps behind one that always fails',
    [set('a'), stop('b'), set('c'), set('d', { needs: ['c'] }), set('e', { needs: ['a'] })],
    ['/steps/2: can never run: b always fails', '/steps/3: can never run: b always fails'],
  ],
  [
    'a jump past a failure that is itself behind one',
    [stop('a'), set('b', { on_error: { goto: 'd' } }), stop('c'), set('d')],
    ['/steps/1', '/steps/2', '/steps/3'].map((pointer) => `${pointer}: can never run: a always fails`),
  ],
])('fault: %s', (_, steps, expected) => {
  expect(linesOf(steps)).toEqual(expected)
})

test('max_parallel is a whole number from 1 to 50', () => {
  const withMost = (most: unknown) => linesOf([set('a')], { settings: { max_parallel: most } })
  expect([1, 50].map(withMost)).toEqual([[], []])
  expect(withMost(0)).toEqual(['/settings/max_parallel: must be at least 1'])
  expect(withMost(51)).toEqual(['/settings/max_parallel: must be at most 50'])
})

test('editors are told of needs and max_parallel', () => {
  const schema = JSON.stringify(recipeJsonSchema())
  expect(schema).toContain('"needs":')
  expect(schema).toContain('"max_parallel":')
})

test('two hundred steps that all need those before them, and jump back, have no fault', () => {
  const ids = Array.from({ length: 200 }, (_, index) => `s${index}`)
  const steps = ids.map((id, index) => set(id, { needs: ids.slice(0, index), on_error: { goto: ids[index >> 1] } }))
  expect(linesOf(steps)).toEqual([])
})

test('more needs than a list can have steps are one fault, however many they are', () => {
  const needs = Array.from({ length: 25_000 }, (_, index) => `a${index.toString(36)}`)
  expect(linesOf([set('a', { needs })])).toEqual(['/steps/0/needs: must have at most 200 items'])
})
