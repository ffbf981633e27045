import { expect, test } from 'vitest'
import type { Blobs } from '../../src/context.ts'

const bytes = (text: string) => new TextEncoder().encode(text)

/** The contract of every blob store. `open` gives an empty one. */
export function describeBlobs(open: () => Blobs | Promise<Blobs>) {
  test('gives back exactly the bytes that were put, empty and binary ones too', async () => {
    const blobs = await open()
    const binary = Uint8Array.from({ length: 256 }, (_, i) => i)
    await blobs.put('runs/1/output', binary, { mediaType: 'application/octet-stream' })
    await blobs.put('runs/1/empty', new Uint8Array())
    expect(await blobs.get('runs/1/output')).toEqual(binary)
    expect(await blobs.get('runs/1/empty')).toEqual(new Uint8Array())
  })

  test('answers null for what is not there, also below or above an existing key', async () => {
    const blobs = await open()
    await blobs.put('a/b', bytes('x'))
    expect(await blobs.get('a/c')).toBeNull()
    expect(await blobs.get('a/b/c')).toBeNull()
    expect(await blobs.get('zzz')).toBeNull()
  })

  test('a second put replaces the first', async () => {
    const blobs = await open()
    await blobs.put('k', bytes('a long first value'))
    await blobs.put('k', bytes('second'))
    expect(await blobs.get('k')).toEqual(bytes('second'))
  })

  test('puts of one key at once leave one of the values whole', async () => {
    const blobs = await open()
    const values = Array.from({ length: 8 }, (_, i) => bytes(String(i).repeat(20_000)))
    await Promise.all(values.map((value) => blobs.put('k', value)))
    expect(values).toContainEqual(await blobs.get('k'))
  })

  test('delete removes, and deleting what is not there is no fault', async () => {
    const blobs = await open()
    await blobs.put('k', bytes('x'))
    await blobs.delete('k')
    await blobs.delete('k')
    expect(await blobs.get('k')).toBeNull()
  })

  test('a view into a larger buffer is stored as the view, and later changes to it are not seen', async () => {
    const blobs = await open()
    const large = bytes('0123456789')
    await blobs.put('k', large.subarray(2, 5))
    large.fill(0)
    expect(await blobs.get('k')).toEqual(bytes('234'))
  })
}

const hostileKeys = [
  '../x',
  'a/../../x',
  '/etc/passwd',
  'a//b',
  '',
  '.',
  'a/.hidden',
  'a\\b',
  'a\u0000b',
  'ä',
  'a'.repeat(1000),
]

/** Stores whose keys are checked by us. */
export function describeBlobKeys(open: () => Blobs | Promise<Blobs>) {
  test.each(hostileKeys)('refuses the key %j', async (key) => {
    const blobs = await open()
    await expect(blobs.put(key, bytes('x'))).rejects.toThrow('not allowed')
    await expect(blobs.get(key)).rejects.toThrow('not allowed')
    await expect(blobs.delete(key)).rejects.toThrow('not allowed')
  })
}
