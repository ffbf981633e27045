import { expect, test } from 'vitest'
import { runsService, engineOf } from '../../src/services/runs/index.ts'
import { createTestApp, type Client } from '../support/app.ts'

const owner = await createTestApp({ config: { apiUrl: 'https://automatos.test' } })
const { app, runtime, signIn } = owner

async function work() {
  await runsService.tick(runtime)
  await engineOf(runtime).idle()
}
const json = async <T = Record<string, unknown>>(response: Response) => (await response.json()) as T

/** A run that waits for an approval. */
async function asked(client: Client = owner, step: object = {}): Promise<{ execution: string; approval: string }> {
  const slug = `ask-${crypto.randomUUID().slice(0, 8)}`
  const made = await client.post('/api/workflow-recipes', {
    name: 'Newsletter <b>',
    slug,
    steps: [
      { id: 'ok', kind: 'approval', message: 'Send <script>alert(1)</script>?', payload: { subject: 'A' }, ...step },
    ],
  })
  expect(made.status, await made.clone().text()).toBe(201)
  const { id } = await json<{ id: string }>(await client.post(`/api/workflow-recipes/${slug}/execute`, {}))
  await work()
  const { items } = await json<{ items: { id: string }[] }>(
    await client.get(`/api/approvals?status=pending&execution_id=${id}`),
  )
  expect(items).toHaveLength(1)
  return { execution: id, approval: items[0]!.id }
}
const statusOf = async (execution: string) =>
  (await json<{ status: string }>(await owner.get(`/api/executions/${execution}`))).status

async function linkTo(approval: string, client: Client = owner): Promise<{ path: string; token: string }> {
  const response = await client.post(`/api/approvals/${approval}/links`, { issued_to: 'Kim', expires_in: '8h' })
  expect(response.status).toBe(201)
  const { url } = await json<{ url: string }>(response)
  const { origin, pathname, search, searchParams } = new URL(url)
  expect(origin).toBe('https://automatos.test')
  return { path: pathname + search, token: searchParams.get('token')! }
}
const submit = (approval: string, fields: Record<string, string>) =>
  app.request(`/api/approvals/${approval}/page`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: new URLSearchParams(fields).toString(),
  })

test('an approval is in the inbox until it is decided, and the run goes on with the edited payload', async () => {
  const { execution, approval } = await asked()
  expect(await json(await owner.get(`/api/approvals/${approval}`))).toMatchObject({
    status: 'pending',
    execution_id: execution,
    step_path: 'ok',
    recipe_name: 'Newsletter <b>',
    payload: { subject: 'A' },
  })
  const decided = await owner.post(`/api/approvals/${approval}/decide`, {
    decision: 'approved',
    comment: 'Shorter.',
    payload: { subject: 'B' },
  })
  expect(decided.status).toBe(200)
  expect(await json(decided)).toMatchObject({
    status: 'approved',
    comment: 'Shorter.',
    decided_payload: { subject: 'B' },
    decided_by: { kind: 'key', id: owner.keyId },
  })
  expect(await json(await owner.get('/api/approvals?status=pending'))).toMatchObject({ items: [] })
  expect(await json(await owner.get('/api/approvals?status=approved'))).toMatchObject({ items: [{ id: approval }] })
  await work()
  expect(await json(await owner.get(`/api/executions/${execution}`))).toMatchObject({
    status: 'succeeded',
    output: { decision: 'approved', payload: { subject: 'B' } },
  })
})

test('the second decision is a conflict, whatever it wants', async () => {
  const { approval } = await asked()
  expect((await owner.post(`/api/approvals/${approval}/decide`, { decision: 'rejected' })).status).toBe(200)
  const second = await owner.post(`/api/approvals/${approval}/decide`, { decision: 'rejected' })
  expect(second.status).toBe(409)
  expect(await json(second)).toMatchObject({
    type: '/problems/conflict',
    detail: expect.stringContaining('was rejected'),
  })
})

test('an edited payload must fit the schema of the step; a rejection takes none', async () => {
  const payload_schema = { type: 'object', properties: { subject: { type: 'string' } }, required: ['subject'] }
  const { approval } = await asked(owner, { payload_schema })
  const wrong = await owner.post(`/api/approvals/${approval}/decide`, { decision: 'approved', payload: { subject: 7 } })
  expect(wrong.status).toBe(422)
  expect(await json(wrong)).toMatchObject({ errors: [{ pointer: '/payload/subject' }] })
  const rejected = await owner.post(`/api/approvals/${approval}/decide`, { decision: 'rejected', payload: {} })
  expect(rejected.status).toBe(422)
  expect(await json(await owner.get(`/api/approvals/${approval}`))).toMatchObject({ status: 'pending' })
})

test('an edited payload is no larger than that of a step, and no deeper than any JSON', async () => {
  const { approval } = await asked()
  const large = { text: 'x'.repeat(256 * 1024) }
  const refused = await owner.post(`/api/approvals/${approval}/decide`, { decision: 'approved', payload: large })
  expect(refused.status).toBe(422)
  expect(await json(refused)).toMatchObject({ errors: [{ pointer: '/payload' }] })
  const { token } = await linkTo(approval)
  for (const payload of [JSON.stringify(large), '['.repeat(1_200) + ']'.repeat(1_200), '['.repeat(1_200)]) {
    const answer = await submit(approval, { token, decision: 'approved', payload })
    expect(answer.status, payload.slice(0, 20)).toBe(422)
    expect(await answer.text()).toContain('/payload')
  }
  expect(await json(await owner.get(`/api/approvals/${approval}`))).toMatchObject({ status: 'pending' })
})

test('an approval has twenty links at a time, however many are asked for at once', async () => {
  const { approval } = await asked()
  const make = async () => (await owner.post(`/api/approvals/${approval}/links`, { expires_in: '8h' })).status
  const statuses = await Promise.all(Array.from({ length: 24 }, make))
  expect(statuses.toSorted()).toEqual([...Array(20).fill(201), ...Array(4).fill(409)])
  await owner.database.shiftClock({ seconds: 8 * 3600 + 1 })
  try {
    expect(await make()).toBe(201)
  } finally {
    await owner.database.shiftClock({ seconds: 0 })
  }
})

test('deciding takes a permission of its own', async () => {
  const { approval } = await asked()
  const reader = await signIn({ workspace: owner.workspaceId, scopes: ['approvals:read'] })
  expect((await reader.get(`/api/approvals/${approval}`)).status).toBe(200)
  expect((await reader.post(`/api/approvals/${approval}/decide`, { decision: 'approved' })).status).toBe(403)
  expect((await reader.post(`/api/approvals/${approval}/links`, {})).status).toBe(403)
})

test("another workspace's approval is not there", async () => {
  const { approval } = await asked()
  const stranger = await signIn()
  expect((await stranger.get(`/api/approvals/${approval}`)).status).toBe(404)
  expect((await stranger.post(`/api/approvals/${approval}/decide`, { decision: 'approved' })).status).toBe(404)
  expect((await stranger.post(`/api/approvals/${approval}/links`, {})).status).toBe(404)
  expect(await json(await stranger.get('/api/approvals'))).toMatchObject({ items: [] })
})

test('a link shows what is to be decided, without an account and without deciding anything', async () => {
  const { execution, approval } = await asked()
  const { path } = await linkTo(approval)
  for (let previews = 0; previews < 3; previews++) {
    const page = await app.request(path)
    expect(page.status).toBe(200)
    const text = await page.text()
    expect(text).toContain('Send &lt;script&gt;alert(1)&lt;/script&gt;?')
    expect(text).toContain('Newsletter &lt;b&gt;')
    expect(text).not.toContain('<script')
    const policy = page.headers.get('content-security-policy')!
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("form-action 'self'")
    expect(policy).not.toMatch(/script-src|unsafe/)
    expect(page.headers.get('referrer-policy')).toBe('no-referrer')
    expect(page.headers.get('cache-control')).toBe('no-store')
  }
  await work()
  expect(await statusOf(execution)).toBe('waiting')
  expect(await json(await owner.get(`/api/approvals/${approval}`))).toMatchObject({ status: 'pending' })
})

test('the form of the page decides, once', async () => {
  const { execution, approval } = await asked()
  const { token, path } = await linkTo(approval)
  const fields = { token, decision: 'approved', comment: 'From my phone', payload: '{"subject": "C"}' }
  const answers = await Promise.all([submit(approval, fields), submit(approval, { ...fields, decision: 'rejected' })])
  expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409])
  const decided = await json<{ status: string }>(await owner.get(`/api/approvals/${approval}`))
  expect(decided).toMatchObject({ comment: 'From my phone', decided_by: { kind: 'link', name: 'Kim' } })
  await work()
  expect(await statusOf(execution)).toBe(decided.status === 'approved' ? 'succeeded' : 'failed')
  const page = await (await app.request(path)).text()
  // A time for people, whose zone the page cannot know.
  expect(page).toMatch(new RegExp(`It was ${decided.status} by Kim, on \\d+ \\w+ \\d{4} at \\d\\d:\\d\\d UTC\\.`))
  expect(page).not.toContain('<form')
})

test('the page takes what the form wrote and says what is wrong with it', async () => {
  const payload_schema = { type: 'object', properties: { subject: { type: 'string' } }, required: ['subject'] }
  const { approval } = await asked(owner, { payload_schema })
  const { token } = await linkTo(approval)
  const noJson = await submit(approval, { token, decision: 'approved', comment: 'Mine', payload: '{"subject": ' })
  expect(noJson.status).toBe(422)
  const text = await noJson.text()
  expect(text).toContain('/payload is not JSON')
  expect(text).toContain('Mine')
  const unfit = await submit(approval, { token, decision: 'approved', payload: '{"subject": 1}' })
  expect(unfit.status).toBe(422)
  expect(await unfit.text()).toContain('/payload/subject')
  expect((await submit(approval, { token })).status).toBe(422)
  // As it was: not an edit.
  const same = await submit(approval, { token, decision: 'approved', comment: '', payload: '{ "subject":"A" }' })
  expect(same.status).toBe(200)
  expect(await json(await owner.get(`/api/approvals/${approval}`))).toMatchObject({
    status: 'approved',
    comment: null,
    decided_payload: null,
  })
})

test('a link opens its own approval, as it was signed, and nothing else', async () => {
  const [mine, other] = [await asked(), await asked()]
  const { token, path } = await linkTo(mine.approval)
  for (const wrong of [token.slice(0, -2), token.replace(/^./, 'f'), '', '.', 'a.b.c', 'x'.repeat(900)]) {
    const answer = await app.request(`/api/approvals/${mine.approval}/page?token=${encodeURIComponent(wrong)}`)
    expect(answer.status, wrong).toBe(404)
    expect(await answer.text()).not.toContain('Send')
    expect((await submit(mine.approval, { token: wrong, decision: 'approved' })).status, wrong).toBe(404)
  }
  expect((await app.request(path.replace(mine.approval, other.approval))).status).toBe(404)
  expect((await submit(other.approval, { token, decision: 'approved' })).status).toBe(404)
  expect((await app.request(`/api/approvals/not-an-id/page?token=${token}`)).status).toBe(404)
  for (const { approval } of [mine, other])
    expect(await json(await owner.get(`/api/approvals/${approval}`))).toMatchObject({ status: 'pending' })
})

test('a link ends with the key that made it', async () => {
  const { approval } = await asked()
  const maker = await signIn({ workspace: owner.workspaceId, scopes: ['approvals:read', 'approvals:decide'] })
  const { path, token } = await linkTo(approval, maker)
  expect((await app.request(path)).status).toBe(200)
  const current = await owner.get(`/api/api-keys/${maker.keyId}`)
  const revoked = await owner.del(`/api/api-keys/${maker.keyId}`, { 'if-match': current.headers.get('etag') ?? '*' })
  expect(revoked.status).toBeLessThan(300)
  expect((await app.request(path)).status).toBe(404)
  expect((await submit(approval, { token, decision: 'approved' })).status).toBe(404)
})

test('a link ends with its time, and none is made for what is decided', async () => {
  const { approval } = await asked()
  const { path } = await linkTo(approval)
  await owner.database.shiftClock({ seconds: 8 * 3600 + 1 })
  try {
    expect((await app.request(path)).status).toBe(404)
  } finally {
    await owner.database.shiftClock({ seconds: 0 })
  }
  await owner.post(`/api/approvals/${approval}/decide`, { decision: 'approved' })
  expect((await owner.post(`/api/approvals/${approval}/links`, {})).status).toBe(409)
  const wrong = await owner.post(`/api/approvals/${(await asked()).approval}/links`, { expires_in: '90d' })
  expect(wrong.status).toBe(422)
})
