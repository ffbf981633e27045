import { expect, test } from 'vitest'
import { ApiMetrics } from '../../../src/services/metrics/api-metrics.ts'

const clock = { now: () => new Date('2026-11-22T12:00:00Z'), monotonicMs: () => 0 }

test('a slot tells count, times, errors and statuses', () => {
  const slot = new ApiMetrics().slot('GET', '/api/agents/{agent}')
  slot.record(200, 10, 0)
  slot.record(404, 30, 0)
  slot.record(200, 20, 0)
  expect(slot.stats(clock)).toEqual({
    endpoint: 'GET /api/agents/{agent}',
    call_count: 3,
    error_count: 1,
    total_time_ms: 60,
    avg_time_ms: 20,
    min_time_ms: 10,
    max_time_ms: 30,
    p50_ms: 20,
    p95_ms: 30,
    p99_ms: 30,
    status_codes: { '200': 2, '404': 1 },
    last_called: '2026-11-22T12:00:00.000Z',
  })
})

test('quantiles look at the last hundred calls, the average at all', () => {
  const slot = new ApiMetrics().slot('GET', '/')
  for (let i = 0; i < 100; i++) slot.record(200, 1000, 0)
  for (let i = 1; i <= 100; i++) slot.record(200, i, 0)
  expect(slot.stats(clock)).toMatchObject({ p50_ms: 50, p95_ms: 95, p99_ms: 99, max_time_ms: 1000, call_count: 200 })
})

test('at most 500 keys are kept, and what comes later is counted together', () => {
  const metrics = new ApiMetrics()
  for (let i = 0; i < 2000; i++) metrics.slot('GET', `/made-up/${i}`).record(404, 1, 0)
  expect(metrics.slots()).toHaveLength(500)
  expect(metrics.slots().reduce((sum, slot) => sum + slot.callCount, 0)).toBe(2000)
  expect(metrics.slot('ANY', 'other').callCount).toBe(1501)
})

test('the worst comes first', () => {
  const metrics = new ApiMetrics()
  metrics.slot('GET', '/fine').record(200, 1, 0)
  metrics.slot('GET', '/slow').record(200, 900, 0)
  metrics.slot('GET', '/broken').record(500, 1, 0)
  expect(metrics.worstFirst(clock).map((stats) => stats.endpoint)).toEqual(['GET /broken', 'GET /slow', 'GET /fine'])
})
