import { ROOT_CONTEXT } from '@opentelemetry/api'
import { expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import { openTracing } from '../../src/runtime/tracing/open-tracing.ts'
import { createTestLog } from '../support/log.ts'
import { startOtlpReceiver } from '../support/otlp-receiver.ts'

async function setUp(env: Record<string, string> = {}, everyMs?: number) {
  const receiver = await startOtlpReceiver()
  onTestFinished(() => receiver.close())
  const log = createTestLog()
  const config = parseConfig({ ENVIRONMENT: 'test', OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...env })
  const tracing = openTracing({ config, platform: 'node', instance: 'i', log, everyMs })
  const spans = (count: number) => {
    for (let n = 0; n < count; n++) tracing.tracer.startSpan(`span ${n}`, {}, ROOT_CONTEXT).end()
  }
  const figures = async () =>
    Object.fromEntries(
      (await tracing.collector()).flatMap(({ name, samples }) =>
        samples.map(({ labels, value }) => [
          `${name.replace(/^automatos_trace_spans_/, '')}${labels?.['reason'] ?? ''}`,
          value,
        ]),
      ),
    )
  return { receiver, log, tracing, spans, figures }
}

test('spans are sent by themselves, with the headers and attributes that are set', async () => {
  const { receiver, spans, tracing } = await setUp(
    {
      OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Bearer%20a%2Cb,x-tenant=one',
      OTEL_SERVICE_NAME: 'ours',
      OTEL_RESOURCE_ATTRIBUTES: 'service.name=ignored,k8s.pod.name=pod-1',
    },
    1,
  )
  spans(1)
  const span = await receiver.arrived(({ name }) => name === 'span 0')
  expect(span.resource).toMatchObject({ 'service.name': 'ours', 'k8s.pod.name': 'pod-1' })
  expect(receiver.requests[0]).toMatchObject({
    path: '/v1/traces',
    headers: { authorization: 'Bearer a,b', 'x-tenant': 'one', 'content-type': 'application/json' },
  })
  await tracing.close()
})

test('a receiver that is away costs nothing but spans beyond the bound, and they are counted', async () => {
  const { receiver, log, spans, figures, tracing } = await setUp()
  receiver.answerWith(503)
  spans(9000)
  await tracing.flush()
  expect(await figures()).toEqual({ exported_total: 0, dropped_totalfull: 808, dropped_totalrefused: 0, queued: 8192 })
  await tracing.flush()
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
  receiver.answerWith(200)
  await tracing.flush()
  expect(await figures()).toMatchObject({ exported_total: 8192, queued: 0 })
  expect(receiver.spans).toHaveLength(8192)
})

test('a receiver that nobody listens at fails no flush', async () => {
  const { receiver, spans, figures, tracing } = await setUp()
  await receiver.close()
  spans(3)
  await tracing.flush()
  await tracing.close()
  expect(await figures()).toMatchObject({ exported_total: 0, queued: 3 })
})

test('what the receiver refuses, whole or in part, is not sent again', async () => {
  const { receiver, spans, figures, tracing } = await setUp()
  receiver.answerWith(400)
  spans(2)
  await tracing.flush()
  receiver.answerWith(200, { partialSuccess: { rejectedSpans: '1' } })
  spans(3)
  await tracing.flush()
  expect(await figures()).toEqual({ exported_total: 2, dropped_totalfull: 0, dropped_totalrefused: 3, queued: 0 })
})

test('samplers keep what their names say', async () => {
  const counted = async (sampler: string, arg = '1') => {
    const { receiver, spans, tracing } = await setUp({ OTEL_TRACES_SAMPLER: sampler, OTEL_TRACES_SAMPLER_ARG: arg })
    spans(400)
    await tracing.flush()
    return receiver.spans.length
  }
  expect(await counted('always_off')).toBe(0)
  expect(await counted('parentbased_always_on')).toBe(400)
  expect(await counted('traceidratio', '0')).toBe(0)
  // Of 400 traces with one chance in two: outside of this once in far more runs than there will be.
  const half = await counted('parentbased_traceidratio', '0.5')
  expect(half).toBeGreaterThan(100)
  expect(half).toBeLessThan(300)
})

test('the address for traces wins, and settings that cannot be read are named', () => {
  const config = parseConfig({
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://one.example:4318/',
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://two.example/otlp',
  })
  expect(config.otelExporterOtlpTracesEndpoint).toBe('http://two.example/otlp')
  expect(() => parseConfig({ OTEL_TRACES_SAMPLER_ARG: '1.5', OTEL_EXPORTER_OTLP_HEADERS: 'no pair' })).toThrow(
    /OTEL_EXPORTER_OTLP_HEADERS.*\n.*OTEL_TRACES_SAMPLER_ARG|OTEL_TRACES_SAMPLER_ARG.*\n.*OTEL_EXPORTER_OTLP_HEADERS/,
  )
})
