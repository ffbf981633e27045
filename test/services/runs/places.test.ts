import { expect, test } from 'vitest'
import { parallelOf, Places } from '../../../src/services/runs/places.ts'
import { http, recipe } from '../../support/engine.ts'

const never = new AbortController().signal

test('those who wait for a place get it in the order of asking, and who gives up loses none', async () => {
  const places = new Places(1)
  expect([places.take(), places.take()]).toEqual([true, false])
  const got: string[] = []
  const stop = new AbortController()
  const waits = [
    places.wait(stop.signal).catch((reason: Error) => void got.push(reason.message)),
    places.wait(never).then(() => void got.push('second')),
    places.wait(never).then(() => void got.push('third')),
  ]
  stop.abort(new Error('first gave up'))
  await waits[0]
  places.give()
  await waits[1]
  expect(places.take()).toBe(false)
  places.give()
  await waits[2]
  expect(got).toEqual(['first gave up', 'second', 'third'])
  places.give()
  expect(places.take()).toBe(true)
  await expect(places.wait(stop.signal)).rejects.toThrow('first gave up')
})

test('a run has ten places, more where a loop asks for more, and as many as its recipe says', () => {
  const loop = (id: string, concurrency: number, steps: unknown[]) => ({
    id,
    kind: 'foreach',
    items: [],
    as: id,
    concurrency,
    steps,
  })
  const fork = { id: 'fork', kind: 'branch', cases: [{ when: 'true', steps: [loop('wide', 40, [http('call')])] }] }
  expect(parallelOf(recipe([http('call')]))).toBe(10)
  expect(parallelOf(recipe([loop('few', 3, [http('call')])]))).toBe(10)
  expect(parallelOf(recipe([loop('outer', 2, [fork])]))).toBe(40)
  expect(parallelOf(recipe([fork], { settings: { max_parallel: 5 } }))).toBe(5)
})
