import { expect, test } from 'vitest'
import { locate } from '../../../src/services/runs/locate.ts'
import { reopenFailed, reopenFrom, type StepOutline } from '../../../src/services/runs/reopen.ts'
import { http, recipe } from '../../support/engine.ts'

let ordinal = 0
const row = (path: string, status: StepOutline['status'], rest: Partial<StepOutline> = {}): StepOutline => ({
  path,
  kind: 'http',
  status,
  ordinal: ordinal++,
  errorKind: status === 'failed' ? 'upstream' : null,
  errorStep: null,
  isSettled: false,
  ...rest,
})
const loop = (path: string, status: StepOutline['status']) => row(path, status, { kind: 'foreach', isSettled: true })
const item = (path: string, status: StepOutline['status'], index: number) =>
  row(path, status, { kind: 'item', ordinal: index })
const each = (id: string, steps: unknown[], rest: object = {}) => ({
  id,
  kind: 'foreach',
  items: [1, 2],
  as: 'n',
  steps,
  ...rest,
})

test('a path is found in its definition through branches, items and visits, and nothing else is', () => {
  const definition = recipe([
    each('each', [http('inner')]),
    { id: 'route', kind: 'branch', cases: [{ when: 'true', steps: [http('a')] }], default: [http('b')] },
  ])
  expect(locate(definition, 'each/3/inner~2')?.step.id).toBe('inner')
  expect(locate(definition, 'each/3')).toMatchObject({ isItem: true, step: { id: 'each' } })
  expect(locate(definition, 'route~4/default/b')?.step.id).toBe('b')
  expect(locate(definition, 'route/0/a')?.step.id).toBe('a')
  for (const path of ['other', 'each/x', 'each/1/other', 'route/0', 'route/1/a', 'route/0/b', ''])
    expect(locate(definition, path), path).toBeNull()
})

test('a retry undoes the failure and what was cut off, and goes once more into what is around', () => {
  const definition = recipe([http('done'), each('each', [http('call'), http('more')])])
  const rows = [
    row('done', 'succeeded'),
    loop('each', 'failed'),
    item('each/0', 'succeeded', 0),
    row('each/0/call', 'succeeded'),
    item('each/1', 'failed', 1),
    row('each/1/call', 'succeeded'),
    row('each/1/more', 'failed'),
    item('each/2', 'canceled', 2),
    row('each/2/call', 'canceled'),
  ]
  expect(reopenFailed(rows, definition, 'each')).toEqual({
    again: ['each/1/more', 'each/2/call'],
    enter: ['each', 'each/1', 'each/2'],
  })
})

test('a failure that the recipe has dealt with stays, with all that is in it', () => {
  const definition = recipe([
    http('soft', { on_error: 'continue' }),
    each('loose', [http('call')], { on_error: { goto: 'hard' } }),
    http('hard'),
  ])
  const rows = [
    row('soft', 'failed'),
    loop('loose', 'failed'),
    item('loose/0', 'failed', 0),
    row('loose/0/call', 'failed'),
    row('hard', 'failed'),
  ]
  expect(reopenFailed(rows, definition, 'hard')).toEqual({ again: ['hard'], enter: [] })
  // A goto that has come to its limit is the failure itself.
  expect(reopenFailed(rows.slice(0, 1), definition, 'soft')).toEqual({ again: ['soft'], enter: [] })
  const nested = recipe([each('each', [http('soft', { on_error: { goto: 'soft' } })])])
  const within = [
    row('each', 'failed', { kind: 'foreach', isSettled: true, errorStep: 'each/0/soft~2' }),
    row('each/0', 'failed', { kind: 'item', errorStep: 'each/0/soft~2' }),
    row('each/0/soft', 'failed'),
    row('each/0/soft~2', 'failed'),
  ]
  expect(reopenFailed(within, nested, 'each')).toEqual({ again: ['each/0/soft~2'], enter: ['each', 'each/0'] })
})

test('a loop whose list could not be worked out begins anew', () => {
  const definition = recipe([each('each', [http('call')])])
  expect(reopenFailed([row('each', 'failed', { kind: 'foreach' })], definition, 'each')).toEqual({
    again: ['each'],
    enter: [],
  })
})

test('a replay leaves out the step, what is in it and all that came after, at every level around it', () => {
  const definition = recipe([http('a'), each('each', [http('x'), http('y')]), http('z')])
  const rows = [
    row('a', 'succeeded'),
    loop('each', 'succeeded'),
    item('each/0', 'succeeded', 0),
    row('each/0/x', 'succeeded'),
    row('each/0/y', 'succeeded'),
    item('each/1', 'succeeded', 1),
    row('each/1/x', 'succeeded'),
    row('each/1/y', 'succeeded'),
    row('z', 'succeeded'),
  ]
  expect(reopenFrom(rows, definition, 'each/1/y')).toEqual({ again: ['each/1/y', 'z'], enter: ['each/1', 'each'] })
  expect(reopenFrom(rows, definition, 'each')).toEqual({
    again: ['each', 'each/0', 'each/0/x', 'each/0/y', 'each/1', 'each/1/x', 'each/1/y', 'z'],
    enter: [],
  })
  expect(reopenFrom(rows, definition, 'each/0')).toEqual({
    again: ['each/0', 'each/0/x', 'each/0/y', 'z'],
    enter: ['each'],
  })
  expect(reopenFrom(rows, definition, 'a').again).toHaveLength(rows.length)
})

test('a replay keeps what ran beside the step, in its own list and in those around it', () => {
  const side = (id: string, steps: unknown[]) => ({ ...each(id, steps), needs: ['a'] })
  const definition = recipe([
    http('a'),
    side('one', [http('x'), http('y', { needs: [] }), http('z', { needs: ['x'] })]),
    side('two', [http('v')]),
    http('end', { needs: ['one'] }),
  ])
  const rows = [
    row('a', 'succeeded'),
    loop('one', 'succeeded'),
    loop('two', 'succeeded'),
    item('one/0', 'succeeded', 0),
    item('two/0', 'succeeded', 0),
    ...['one/0/x', 'one/0/y', 'two/0/v', 'one/0/z', 'end'].map((path) => row(path, 'succeeded')),
  ]
  expect(reopenFrom(rows, definition, 'one/0/x')).toEqual({
    again: ['one/0/x', 'one/0/z', 'end'],
    enter: ['one/0', 'one'],
  })
  expect(reopenFrom(rows, definition, 'two').again).toEqual(['two', 'two/0', 'two/0/v'])
})

test('a replay from a step that jumped back undoes what that led to, and keeps the visits before', () => {
  const definition = recipe([
    http('a'),
    http('b', { needs: ['a'], on_error: { goto: 'a' } }),
    http('beside', { needs: [] }),
  ])
  const rows = [
    row('a', 'succeeded'),
    row('b', 'failed'),
    row('a~2', 'succeeded'),
    row('beside', 'succeeded'),
    row('b~2', 'succeeded'),
  ]
  expect(reopenFrom(rows, definition, 'b').again).toEqual(['b', 'a~2', 'b~2'])
  expect(reopenFrom(rows, definition, 'b~2').again).toEqual(['b~2'])
})

test('what follows a step is worked out once, however many rows there are', () => {
  let looks = 0
  const watched = (id: string, needs: string[]) => ({
    ...http(id, { needs }),
    get on_error() {
      looks++
      return { goto: 's0' }
    },
  })
  const inner = Array.from({ length: 100 }, (_, index) => watched(`s${index}`, index === 0 ? [] : [`s${index - 1}`]))
  const definition = recipe([http('first'), each('each', inner)])
  const rows = [
    row('first', 'succeeded'),
    loop('each', 'succeeded'),
    ...Array.from({ length: 20 }, (_, index) => [
      item(`each/${index}`, 'succeeded', index),
      ...inner.map(({ id }) => row(`each/${index}/${id}`, 'succeeded')),
    ]).flat(),
  ]
  expect(reopenFrom(rows, definition, 'each/0/s1').again).toHaveLength(99)
  expect(looks).toBe(inner.length)
})
