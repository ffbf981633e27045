import { expect, test } from 'vitest'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp } from '../support/app.ts'

const { app, get, post, request, runtime, signIn, workspaceId } = await createTestApp()

/** The path of the output of a run that has come to its end, if `work` is left to it. */
async function run(value: unknown, { worked = true, expression = 'input.value' } = {}): Promise<string> {
  const steps = [{ id: 'one', kind: 'transform', value: { $expr: expression } }]
  const recipe = await post('/api/workflow-recipes', { name: 'Output', steps, output: { $expr: 'steps.one.output' } })
  const { slug } = (await recipe.json()) as { slug: string }
  const started = await post(`/api/workflow-recipes/${slug}/execute`, { input_data: { value } })
  const { id } = (await started.json()) as { id: string }
  if (worked) {
    await runsService.tick(runtime)
    await engineOf(runtime).idle()
  }
  return `/api/executions/${id}/output`
}

const long = 'ä'.repeat(200_000)
const lines = Array.from({ length: 20_000 }, (_, n) => `line ${n} of many`)

test.each([
  ['an object', { a: [1, null, 'x'] }, 'json'],
  ['a number', 7, 'json'],
  ['null', null, 'json'],
  ['false', false, 'json'],
  ['a list too large for a row', lines, 'json'],
  ['a text', '# Digest\n', 'txt'],
  ['the empty text', '', 'txt'],
  ['a text too large for a row', long, 'txt'],
])('%s is a file', async (_, value, extension) => {
  const path = await run(value)
  const response = await get(path)
  expect(response.status).toBe(200)
  const id = path.split('/')[3]
  expect(response.headers.get('content-disposition')).toBe(`attachment; filename="execution-${id}.${extension}"`)
  expect(response.headers.get('x-content-type-options')).toBe('nosniff')
  const isText = extension === 'txt'
  expect(response.headers.get('content-type')).toBe(isText ? 'text/plain; charset=utf-8' : 'application/json')
  const text = await response.text()
  if (isText) expect(text).toBe(value)
  else expect(JSON.parse(text)).toEqual(value)

  const etag = response.headers.get('etag')!
  const again = await get(path, { 'if-none-match': etag })
  expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag])
  const head = await request('HEAD', path)
  expect([head.status, await head.text(), head.headers.get('etag')]).toEqual([200, '', etag])
})

test('the output of one step, under a name of its own, with the length of what is sent', async () => {
  const path = await run(lines, { expression: 'input.value' })
  const whole = await get(path)
  const step = await get(`${path}?step=one`)
  expect(step.headers.get('content-disposition')).toMatch(/-one\.json"$/)
  expect(step.headers.get('etag')).not.toBe(whole.headers.get('etag'))
  const bytes = new Uint8Array(await step.arrayBuffer())
  expect(step.headers.get('content-length')).toBe(String(bytes.length))
  expect(JSON.parse(new TextDecoder().decode(bytes))).toEqual(lines)

  const link = (await (await post(`${path}/link?step=one`)).json()) as { url: string }
  const { pathname, search } = new URL(link.url)
  const linked = await app.request(pathname + search)
  expect([linked.status, await linked.json()]).toEqual([200, lines])

  expect((await get(`${path}?step=two`)).status).toBe(404)
  const failed = await run(0, { expression: '1 / input.value' })
  expect((await get(`${failed}?step=one`)).status).toBe(409)
})

test('two runs with one output have tags of their own', async () => {
  const tags = [await run(1), await run(1)].map(async (path) => (await get(path)).headers.get('etag'))
  expect(await tags[0]).not.toBe(await tags[1])
})

test('there is none before the end, nor after a failure: 409, and an unknown execution is 404', async () => {
  const queued = await get(await run(1, { worked: false }))
  expect([queued.status, await queued.json()]).toMatchObject([409, { type: '/problems/conflict' }])
  const failed = await get(await run(0, { expression: '1 / input.value' }))
  expect([failed.status, await failed.json()]).toMatchObject([409, { detail: expect.stringContaining('failed') }])
  for (const id of ['nonsense', crypto.randomUUID()]) {
    expect((await get(`/api/executions/${id}/output`)).status).toBe(404)
    expect((await post(`/api/executions/${id}/output/link`)).status).toBe(404)
  }
})

test('a value that looks like a stored one is what it is, unless the workspace stored it', async () => {
  const stranger = await signIn()
  const sha = '0'.repeat(64)
  await runtime.blobs.put(
    `runs/${stranger.workspaceId}/${workspaceId}/${sha}.json`,
    new TextEncoder().encode('"theirs"'),
  )
  for (const $blob of [
    `runs/${stranger.workspaceId}/${workspaceId}/${sha}.json`,
    `runs/${workspaceId}/../${stranger.workspaceId}/${workspaceId}/${sha}.json`,
    'anything',
  ]) {
    const response = await get(await run({ $blob }))
    expect([response.status, await response.json()]).toEqual([200, { $blob }])
  }
  const gone = await get(await run({ $blob: `runs/${workspaceId}/${workspaceId}/${sha}.json` }))
  expect(gone.status).toBe(404)
})

test('a link to it needs no key', async () => {
  const path = await run('Hello')
  const { url } = (await (await post(`${path}/link`)).json()) as { url: string }
  expect(await (await app.request(url)).text()).toBe('Hello')
})
