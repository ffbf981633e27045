import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { prepareDatabase } from '../src/runtime/node/prepared-database.ts'
import { folderForTest } from './support/folder.ts'
import { startOtlpReceiver } from './support/otlp-receiver.ts'
import { runtimes, startProcess, type RuntimeName } from './support/process.ts'

const patience = { timeout: 120_000 }

test.each(['node', 'bun'] as const)(
  'a server on %s sends its traces, statements included, and the last of them as it stops',
  patience,
  async (runtime: RuntimeName) => {
    await prepareDatabase()
    const receiver = await startOtlpReceiver()
    onTestFinished(() => receiver.close())
    const dataDir = join(await folderForTest(), 'data')
    const args = runtime === 'bun' ? ['src/node-server.ts'] : ['src/cli/launch.js', 'src/node-server.ts']
    const server = startProcess(runtimes[runtime], args, {
      PORT: '0',
      DATA_DIR: dataDir,
      LOG_LEVEL: 'debug',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    })
    const address = (await server.saying(/API +(http:\S+)/))[1]!
    const key = (await readFile(join(dataDir, 'admin-api-key'), 'utf8')).trim()
    const send = async (method: string, path: string, body?: object) => {
      const response = await fetch(address + path, {
        method,
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        ...(body && { body: JSON.stringify(body) }),
      })
      expect(response.status).toBeLessThan(300)
      return response
    }
    await send('POST', '/api/workflow-recipes', {
      name: 'Small',
      slug: 'small',
      steps: [{ id: 'one', kind: 'transform', value: 'a-value-that-is-a-parameter' }],
    })
    const started = await send('POST', '/api/workflow-recipes/small/execute', { input_data: {} })
    const { execution_id: id } = (await started.json()) as { execution_id: string }
    // The stream ends with the run.
    await (await send('GET', `/api/executions/${id}/events`)).text()
    server.child.kill('SIGTERM')
    expect(await server.ended).toBe(0)

    const run = await receiver.arrived((span) => span.name === 'run Small')
    const ours = receiver.spans.filter((span) => span.traceId === run.traceId)
    const request = ours.find((span) => span.spanId === run.parentSpanId)
    expect(request?.name).toBe('POST /api/workflow-recipes/{recipe}/execute')
    const statements = ours.filter((span) => span.attributes['db.system.name'] === 'postgresql')
    expect(statements.some((span) => span.parentSpanId === request!.spanId)).toBe(true)
    // What is spoken to the database holds no value of ours.
    expect(JSON.stringify(receiver.spans)).not.toContain('a-value-that-is-a-parameter')
    expect(ours.map((span) => span.name)).toContain('transform one')
    expect(run.resource).toMatchObject({ 'automatos.platform': runtime })
    const names = receiver.spans.map((span) => span.name)
    expect(names).toContain('tick runs')
    expect(names.filter((name) => /^GET .*\/events$/.test(name))).toHaveLength(1)
  },
)
