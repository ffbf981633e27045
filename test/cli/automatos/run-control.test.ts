import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createAutomatos, type Automatos, type Execution } from '../../../clients/typescript/src/index.ts'
import { runAutomatos, startTestServer, type Ran } from '../../support/automatos.ts'
import { folderForTest, type AtEnd } from '../../support/folder.ts'

// Each line starts a process, on a machine that may be busy with other tests.
const patience = { timeout: 120_000 }

const cleanUps: (() => Promise<void>)[] = []
const afterTheFile: AtEnd = (end) => void cleanUps.unshift(end)
afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp()
})

let api: Automatos
let environment: Record<string, string>
beforeAll(async () => {
  const server = await startTestServer(afterTheFile)
  api = createAutomatos({ baseUrl: server.url, apiKey: server.key })
  environment = { AUTOMATOS_URL: server.url, AUTOMATOS_API_KEY: server.key }
}, patience.timeout)

const automatos = (...args: string[]): Promise<Ran> => runAutomatos(args, environment)
async function asked<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await automatos(...args, '--json')
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return JSON.parse(stdout) as T
}
async function started(slug: string, steps: object[], input: object = {}): Promise<string> {
  await api.createRecipe({ body: { name: slug, slug, steps } as never })
  return (await api.executeRecipe({ path: { recipe: slug }, body: { input_data: input as never } })).data.id
}
const settled = (id: string, status: Execution['status']) =>
  expect
    .poll(async () => (await api.getExecution({ path: { execution: id } })).data.status, { timeout: 30_000 })
    .toBe(status)
const nap = { id: 'nap', kind: 'wait', duration: '1h' }

test('a run is paused and goes on when it is resumed; what makes no sense is a conflict', patience, async () => {
  const id = await started('napping', [nap])
  await settled(id, 'waiting')
  expect((await automatos('runs', 'pause', id, '--reason', 'a look')).stdout).toBe(`Run ${id} is paused.\n`)
  expect(await asked('runs', 'resume', id)).toMatchObject({ id, status: 'queued' })
  const again = await automatos('runs', 'resume', id)
  expect([again.code, again.stderr]).toEqual([6, expect.stringContaining('is not paused')])
  await automatos('runs', 'cancel', id)
})

test('a failed run is retried and followed from there; the exit code is that of the run', patience, async () => {
  const id = await started('failing', [
    { id: 'one', kind: 'transform', value: 1 },
    { id: 'bad', kind: 'fail', message: 'not today' },
  ])
  await settled(id, 'failed')
  const { code, stdout } = await automatos('runs', 'retry', id, '--follow', '--json')
  const lines = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { type: string })
  expect(code).toBe(1)
  expect(lines[0]).toMatchObject({ type: 'execution.retried', data: { generation: 2, steps: ['bad'] } })
  expect(lines.map(({ type }) => type)).not.toContain('execution.queued')
  expect(lines.at(-1)).toMatchObject({ type: 'ended', execution: { id, status: 'failed', generation: 2 } })
})

test('a replay begins at the step that is named, and on the input that is changed', patience, async () => {
  const id = await started(
    'adding',
    [
      { id: 'n', kind: 'transform', value: { $expr: 'input.n' } },
      { id: 'sum', kind: 'transform', value: { $expr: 'steps.n.output + input.n' } },
    ],
    { n: 1 },
  )
  await settled(id, 'succeeded')
  const { stdout } = await automatos('runs', 'replay', id, '--from', 'sum', '--input', 'n=10', '--follow', '--json')
  const lines = stdout.trim().split('\n')
  expect(JSON.parse(lines[0]!)).toMatchObject({ type: 'started', execution: { status: 'queued' } })
  expect(JSON.parse(lines.at(-1)!)).toMatchObject({ execution: { output: 11, replay_of: id, replayed_from: 'sum' } })
  expect((await automatos('runs', 'replay', id, '--from', 'nothing')).code).toBe(5)
})

test('what a run waits for is decided by naming the run', patience, async () => {
  const id = await started('asking', [{ id: 'ok', kind: 'approval', message: 'Go on?' }])
  await settled(id, 'waiting')
  expect((await automatos('runs', 'approve', id, '--comment', 'seen')).stdout).toBe(
    `Step ok of run ${id} is approved.\n`,
  )
  await settled(id, 'succeeded')
  expect((await automatos('runs', 'reject', id)).code).toBe(3)
})

test('figures and findings are printed, and are whole as JSON', patience, async () => {
  const { stdout } = await automatos('runs', 'stats')
  expect(stdout).toMatch(/^runs +\d+: /m)
  expect(stdout).toMatch(/^adding +2 +0 /m)
  expect(await asked('runs', 'stats', '--recipe', 'adding')).toMatchObject({ total: 2, success_rate: 1 })
  expect(await asked<{ findings: { count: number }[] }>('runs', 'stuck')).toMatchObject({ window_days: 7 })
})

test('recipe import is recipe apply', patience, async () => {
  const file = join(await folderForTest(), 'one.yaml')
  await writeFile(file, 'name: Imported\nsteps: [{ id: a, kind: transform, value: 1 }]\n')
  expect((await automatos('recipe', 'import', file)).stdout).toBe('created imported, version 1\n')
})
