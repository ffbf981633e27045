import { expect, test } from 'vitest'
import type { Kv } from '../../src/context.ts'

/** An empty store, seen by two who share it. Where a real clock runs besides `pass`, some seconds change nothing. */
export interface OpenKv {
  one: Kv
  /** The same values, through another client. */
  other: Kv
  /** Time goes on for the values of this store. */
  pass(seconds: number): void | Promise<void>
}

const texts: [string, string][] = [
  ['nothing', ''],
  ['a digit', '1'],
  ['what looks like JSON', '{"a":[1,null,"x"]}'],
  ['a quoted text', '"quoted"'],
  ['null', 'null'],
  ['OK', 'OK'],
  ['base64', 'aGVsbG8='],
  ['many alphabets', 'Grüße, 世界, мир, 👩‍🚀'],
  ['control characters', 'a\0b\r\nc\t'],
  ['a long text', 'x'.repeat(100_000)],
]

/** The contract of every kv. */
export function describeKv(open: () => OpenKv | Promise<OpenKv>) {
  test.each(texts)('gives back exactly what was set: %s', async (_, text) => {
    const { one, other } = await open()
    await one.set('k', text, 60)
    expect(await one.get('k')).toBe(text)
    expect(await other.get('k')).toBe(text)
  })

  test('answers null for what was never set and for what was deleted; deleting nothing is no fault', async () => {
    const { one, other } = await open()
    expect(await one.get('k')).toBeNull()
    await one.set('k', 'v', 60)
    await other.delete('k')
    await other.delete('k')
    expect(await one.get('k')).toBeNull()
  })

  test('keys do not share, whatever characters they are made of', async () => {
    const { one } = await open()
    const keys = ['a', 'a:b', 'a b', 'A', 'ä', 'a*', 'a\nb', '{a}', 'a'.repeat(500)]
    for (const key of keys) await one.set(key, `of ${key}`, 60)
    for (const key of keys) expect(await one.get(key)).toBe(`of ${key}`)
  })

  test('a value ends with its time', async () => {
    const { one, other, pass } = await open()
    await one.set('k', 'v', 600)
    await pass(500)
    expect(await one.get('k')).toBe('v')
    await pass(101)
    expect([await one.get('k'), await other.get('k')]).toEqual([null, null])
  })

  test('a second value replaces the first and brings its own life', async () => {
    const { one, pass } = await open()
    await one.set('k', 'first', 10)
    await one.set('k', 'second', 100)
    await pass(50)
    expect(await one.get('k')).toBe('second')
    await one.set('k', 'third', 10)
    await pass(11)
    expect(await one.get('k')).toBeNull()
  })

  test('of any number who come at once exactly one is first', async () => {
    const { one, other } = await open()
    const first = await Promise.all(
      Array.from({ length: 200 }, (_, i) => (i % 2 ? one : other).setIfAbsent('k', `v${i}`, 60)),
    )
    expect(first.filter(Boolean)).toHaveLength(1)
    expect(await one.get('k')).toBe(`v${first.indexOf(true)}`)
  })

  test('who comes later is first again only once the mark has ended or is taken away', async () => {
    const { one, other, pass } = await open()
    expect(await one.setIfAbsent('k', 'a', 600)).toBe(true)
    await pass(500)
    expect(await other.setIfAbsent('k', 'b', 600)).toBe(false)
    // Coming second did not prolong it.
    await pass(101)
    expect(await other.setIfAbsent('k', 'c', 600)).toBe(true)
    await one.delete('k')
    expect(await one.setIfAbsent('k', 'd', 60)).toBe(true)
    expect(await other.get('k')).toBe('d')
  })

  test('additions at once are all counted, and each sees its own result', async () => {
    const { one, other } = await open()
    const results = await Promise.all(
      Array.from({ length: 500 }, (_, i) => (i % 2 ? one : other).increment('k', 1, 60)),
    )
    expect(results.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1))
    expect(await one.get('k')).toBe('500')
  })

  test('a counter goes down as well, through nothing, and back', async () => {
    const { one } = await open()
    expect(await one.increment('k', 5, 60)).toBe(5)
    expect(await one.increment('k', -8, 60)).toBe(-3)
    expect(await one.increment('k', 3_000_000_000, 60)).toBe(2_999_999_997)
    await one.set('k', '41', 60)
    expect(await one.increment('k', 1, 60)).toBe(42)
  })

  test('the life of a counter begins with its first addition and is not prolonged', async () => {
    const { one, pass } = await open()
    await one.increment('k', 1, 600)
    await pass(500)
    expect(await one.increment('k', 1, 600)).toBe(2)
    await pass(101)
    expect(await one.get('k')).toBeNull()
    expect(await one.increment('k', 1, 600)).toBe(1)
  })

  test('a text is no counter and stays as it was', async () => {
    const { one } = await open()
    await one.set('k', 'text', 60)
    await expect(one.increment('k', 1, 60)).rejects.toThrow(/not (?:a counter|an integer)/)
    expect(await one.get('k')).toBe('text')
  })
}
