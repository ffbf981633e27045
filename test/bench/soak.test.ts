import { expect, test } from 'vitest'
import { Latencies } from '../../bench/soak/latencies.ts'
import { judgeMemory, type Sample } from '../../bench/soak/memory.ts'
import { soakSectionOf, withSoakSection } from '../../bench/soak/section.ts'

/** Noise that is the same in each run. */
function noise() {
  let state = 7
  return () => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647 - 0.5
}
function samples(mbAt: (share: number) => number, noiseMb = 10): Sample[] {
  const random = noise()
  return Array.from({ length: 900 }, (_, n) => ({ atMs: n * 1_000, mb: mbAt(n / 900) + noiseMb * random() }))
}

test.each([
  ['what stays', () => 200],
  ['what falls', (share: number) => 250 - 50 * share],
  ['what has found its size in the first half', (share: number) => 150 + 100 * Math.min(1, share * 2.2)],
  ['a spike at the end', (share: number) => (share > 0.97 ? 400 : 200)],
  ['the teeth of a collector', (share: number) => 200 + 40 * ((share * 20) % 1)],
])('no growth: %s', (_, mbAt) => {
  expect(judgeMemory(samples(mbAt), 0.1).isGrowing).toBe(false)
})

test.each([
  ['a steady leak', (share: number) => 200 + 120 * share],
  ['a leak under the teeth of a collector', (share: number) => 200 + 300 * share + 40 * ((share * 20) % 1)],
])('growth: %s', (_, mbAt) => {
  const verdict = judgeMemory(samples(mbAt), 0.1)
  expect(verdict.isGrowing).toBe(true)
  expect(verdict.endMb).toBeGreaterThan(verdict.startMb)
})

test('a quantile is exact to a tenth', () => {
  const latencies = new Latencies()
  for (let ms = 1; ms <= 1_000; ms++) latencies.add(ms)
  expect(latencies.quantile(0.5) / 500).toBeCloseTo(1, 0)
  expect(latencies.quantile(0.99)).toBeGreaterThan(940)
  expect(latencies.quantile(0.99)).toBeLessThan(1_100)
})

test('the part about the soak is replaced, and kept when the rest is written anew', () => {
  const page = withSoakSection('# Benchmarks\n\nText.\n', 'first')
  const again = withSoakSection(page, 'costs $1')
  expect(again).toBe('# Benchmarks\n\nText.\n\n<!-- soak -->\ncosts $1\n<!-- /soak -->\n')
  expect('# Anew\n' + soakSectionOf(again)).toBe('# Anew\n\n<!-- soak -->\ncosts $1\n<!-- /soak -->\n')
  expect(soakSectionOf('# Benchmarks\n')).toBe('')
})
