import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createCipher, parseKeyRing, sealedBy } from '../../src/runtime/cipher.ts'
import { loadOrCreateKeyRing } from '../../src/runtime/node/key-ring.ts'

const keyOf = (letter: string) => btoa(letter.repeat(32))
const old = `old:${keyOf('a')}`
const ring = `new:${keyOf('b')},${old}`

test('what one place sealed, the same place opens, whatever the text', async () => {
  const cipher = createCipher(old)
  for (const plain of ['', 'token', '\u{1f511} schlüssel\0', 'x'.repeat(100_000)]) {
    const sealed = await cipher.seal(plain, 'place')
    expect(sealed).toMatch(/^v1\.old\.[\w-]+\.[\w-]+$/)
    expect(await cipher.open(sealed, 'place')).toBe(plain)
  }
})

test('the same text is never sealed alike twice, and is not readable', async () => {
  const cipher = createCipher(old)
  const [one, two] = await Promise.all([cipher.seal('secret-token', 'place'), cipher.seal('secret-token', 'place')])
  expect(one).not.toBe(two)
  expect(one).not.toContain('secret')
  expect(atob(one.split('.')[3]!.replaceAll('-', '+').replaceAll('_', '/'))).not.toContain('secret')
})

test('a text that was moved to another place does not open', async () => {
  const cipher = createCipher(old)
  const sealed = await cipher.seal('secret', 'credentials:w1:a')
  await expect(cipher.open(sealed, 'credentials:w2:a')).rejects.toThrow('cannot be opened')
})

test('parts of two sealed texts cannot be put together', async () => {
  const cipher = createCipher(old)
  const [a, b] = (await Promise.all([cipher.seal('one', 'p'), cipher.seal('two', 'p')])).map((text) => text.split('.'))
  await expect(cipher.open([a![0], a![1], a![2], b![3]].join('.'), 'p')).rejects.toThrow('cannot be opened')
})

test('one changed character anywhere is noticed', async () => {
  const cipher = createCipher(old)
  const sealed = await cipher.seal('secret', 'p')
  for (let at = sealed.indexOf('.', 4) + 1; at < sealed.length; at += 3) {
    if (sealed[at] === '.') continue
    const changed = sealed.slice(0, at) + (sealed[at] === 'A' ? 'Q' : 'A') + sealed.slice(at + 1)
    await expect(cipher.open(changed, 'p')).rejects.toThrow()
  }
  for (const odd of ['', 'v1', 'v2.old.a.b', `${sealed}.x`, sealed.slice(0, -8), 'plain']) {
    await expect(cipher.open(odd, 'p')).rejects.toThrow()
  }
})

test('after a rotation old texts open, new ones use the new key, and the old key can leave', async () => {
  const before = await createCipher(old).seal('secret', 'p')
  const rotated = createCipher(ring)
  expect(await rotated.open(before, 'p')).toBe('secret')
  const after = await rotated.seal('secret', 'p')
  expect([sealedBy(before), sealedBy(after), sealedBy('plain')]).toEqual(['old', 'new', null])
  const without = createCipher(`new:${keyOf('b')}`)
  expect(await without.open(after, 'p')).toBe('secret')
  await expect(without.open(before, 'p')).rejects.toThrow('no key "old"')
})

test('another key under the same id does not open', async () => {
  const sealed = await createCipher(old).seal('secret', 'p')
  await expect(createCipher(`old:${keyOf('z')}`).open(sealed, 'p')).rejects.toThrow('cannot be opened')
})

test('a bad key ring names every fault and no key', () => {
  const short = btoa('short')
  expect(() => parseKeyRing(`a:${short},b,c:!!!,d:${keyOf('x')},d:${keyOf('y')}`)).toThrow(
    /key "a" has 5 bytes.*entry 2 is not "id:base64".*key "c" is not base64.*key "d" is there twice/,
  )
  try {
    parseKeyRing(`a:${short},b`)
  } catch (error) {
    expect(String(error)).not.toContain(short)
  }
  expect(() => parseKeyRing('')).toThrow()
})

test('the generated ring is the same at the next start, readable by its owner alone, and one for processes that start together', async () => {
  const dataDir = await mkdtemp(join(tmpdir(), 'key-ring-'))
  onTestFinished(() => rm(dataDir, { recursive: true }))
  const starts = await Promise.all([1, 2, 3, 4].map(() => loadOrCreateKeyRing(dataDir)))
  expect(new Set(starts.map((start) => start.keyRing)).size).toBe(1)
  expect(starts.filter((start) => start.created)).toHaveLength(1)
  expect(await loadOrCreateKeyRing(dataDir)).toEqual({ ...starts[0], created: false })
  expect((await stat(starts[0]!.file)).mode & 0o777).toBe(0o600)
  expect(await readdir(join(dataDir, 'keys'))).toEqual(['credentials.ring'])
  const cipher = createCipher(starts[0]!.keyRing)
  expect(await cipher.open(await cipher.seal('x', 'p'), 'p')).toBe('x')
})
