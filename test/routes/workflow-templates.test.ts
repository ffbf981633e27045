import type { RequestListener } from 'node:http'
import { describe, expect, test } from 'vitest'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { createTestApp } from '../support/app.ts'
import { loopbackServer } from '../support/loopback-server.ts'

const app = await createTestApp()

interface Template {
  slug: string
  name: string
  category: string
  required_inputs: string[]
  definition: { inputs: { properties: Record<string, { description?: string }> } }
  example_input: Record<string, unknown>
}
interface Execution {
  status: string
  output: unknown
  error: unknown
}
const read = async <T>(response: Response | Promise<Response>): Promise<T> => (await (await response).json()) as T
const { items: templates } = await read<{ items: Template[] }>(app.get('/api/workflow-templates'))

async function run(slug: string, input: object, more: object = {}): Promise<Execution> {
  const { id } = await read<{ id: string }>(
    app.post(`/api/workflow-recipes/${slug}/execute`, { input_data: input, ...more }),
  )
  for (let round = 0; round < 5; round++) {
    await runsService.tick(app.runtime)
    await engineOf(app.runtime).idle()
  }
  return read<Execution>(app.get(`/api/executions/${id}`))
}
/** A recipe of its own from a template, run once. */
async function runTemplate(template: string, input: object): Promise<Execution> {
  const made = await app.post(`/api/workflow-templates/${template}/use`, { slug: recipeOf(template) })
  expect(made.status, await made.clone().text()).toBe(201)
  expect(await made.json()).not.toHaveProperty('warnings')
  return run(recipeOf(template), input)
}
const recipeOf = (template: string) => `my-${template}`
const answering =
  (type: string, body: unknown): RequestListener =>
  (_, response) =>
    response.writeHead(200, { 'content-type': type }).end(typeof body === 'string' ? body : JSON.stringify(body))
const bodies = (seen: { body: string }[]) => seen.map(({ body }) => JSON.parse(body) as Record<string, unknown>)

/** What each template does with real addresses; the offline model answers. */
const promises: Record<string, () => Promise<void>> = {
  async 'uptime-check'() {
    const site = await loopbackServer((request, response) =>
      response.writeHead(request.url === '/up' ? 200 : 500).end(),
    )
    const hook = await loopbackServer(answering('text/plain', ''))
    const [up, down] = ['/up', '/down'].map((path) => `http://127.0.0.1:${site.port}${path}`)
    const { output } = await runTemplate('uptime-check', {
      urls: [up, down],
      webhook_url: `http://127.0.0.1:${hook.port}/`,
    })
    expect(output).toEqual({ checked: 2, down: [{ url: down, up: false, status: 500 }] })
    expect(bodies(hook.seen)).toMatchObject([{ text: '1 down', down: [{ url: down }] }])
    await run(recipeOf('uptime-check'), { urls: [up], webhook_url: `http://127.0.0.1:${hook.port}/` })
    expect(hook.seen).toHaveLength(1)
  },
  async 'page-watch'() {
    let page = '<p>Open from 9 to 17</p>'
    const site = await loopbackServer((request, response) => answering('text/html', page)(request, response))
    const hook = await loopbackServer(answering('text/plain', ''))
    const input = { url: `http://127.0.0.1:${site.port}/`, webhook_url: `http://127.0.0.1:${hook.port}/` }
    expect((await runTemplate('page-watch', input)).output).toMatchObject({ changed: false })
    expect((await run(recipeOf('page-watch'), input)).output).toMatchObject({ changed: false })
    page = '<p>Closed</p>'
    expect((await run(recipeOf('page-watch'), input)).output).toMatchObject({ changed: true })
    expect(bodies(hook.seen)).toMatchObject([{ excerpt: 'Closed' }])
  },
  async 'threshold-alert'() {
    const api = await loopbackServer(answering('application/json', { data: { rate: 1.5 } }))
    const hook = await loopbackServer(answering('text/plain', ''))
    const input = {
      url: `http://127.0.0.1:${api.port}/`,
      path: 'data.rate',
      webhook_url: `http://127.0.0.1:${hook.port}/`,
    }
    expect((await runTemplate('threshold-alert', { ...input, above: 1.2 })).output).toEqual({
      value: 1.5,
      verdict: 'above',
    })
    expect((await run(recipeOf('threshold-alert'), { ...input, below: 1 })).output).toEqual({
      value: 1.5,
      verdict: 'within',
    })
    expect(bodies(hook.seen)).toEqual([{ text: 'data.rate is 1.5: above', value: 1.5 }])
    expect(await run(recipeOf('threshold-alert'), { ...input, path: 'data.none' })).toMatchObject({ status: 'failed' })
  },
  async 'feed-digest'() {
    const item = (n: number) => `<item><guid>${n}</guid><title>Headline ${n}</title></item>`
    let feed = [1, 2].map(item).join('')
    const site = await loopbackServer((request, response) =>
      answering('application/rss+xml', `<rss version="2.0"><channel><title>N</title>${feed}</channel></rss>`)(
        request,
        response,
      ),
    )
    const input = { feed_url: `http://127.0.0.1:${site.port}/` }
    const first = await runTemplate('feed-digest', input)
    expect(first.output).toMatchObject({
      new_items: 2,
      seen: ['1', '2'],
      digest: expect.stringContaining('Headline 1') as string,
    })
    expect((await run(recipeOf('feed-digest'), input)).output).toMatchObject({ new_items: 0, digest: null })
    feed += item(3)
    const third = await run(recipeOf('feed-digest'), input)
    expect(third.output).toMatchObject({ new_items: 1, digest: expect.stringContaining('Headline 3') as string })
  },
  async 'page-summary'() {
    const site = await loopbackServer(answering('text/html', '<h1>Bridge</h1><p>The bridge closes on Monday.</p>'))
    const { output } = await runTemplate('page-summary', { url: `http://127.0.0.1:${site.port}/` })
    expect(output).toContain('The bridge closes on Monday.')
  },
  async 'translate-text'() {
    const { output } = await runTemplate('translate-text', { text: 'It rains.', language: 'French' })
    expect(output).toBe('It rains.')
  },
  async 'source-briefing'() {
    const site = await loopbackServer((request, response) =>
      request.url === '/gone'
        ? response.writeHead(404).end()
        : answering('text/html', '<p>Fares rise in May.</p>')(request, response),
    )
    const [good, gone] = ['/a', '/gone'].map((path) => `http://127.0.0.1:${site.port}${path}`)
    const { output } = await runTemplate('source-briefing', { question: 'What changes?', urls: [good, gone] })
    expect(output).toMatchObject({
      sources: [good],
      unread: [gone],
      answer: expect.stringContaining('Fares rise') as string,
    })
    expect(await run(recipeOf('source-briefing'), { question: 'x', urls: [gone] })).toMatchObject({ status: 'failed' })
  },
  async 'announcement-drafts'() {
    const { output } = await runTemplate('announcement-drafts', { facts: ['Version 2 is out.'] })
    expect(output).toEqual({ headline: 'Version 2 is out.', post: 'Version 2 is out.', message: 'Version 2 is out.' })
  },
  async 'csv-report'() {
    const site = await loopbackServer(answering('text/csv', 'day,amount\nMon,1.5\nTue,\nWed,2.5\n'))
    const input = { url: `http://127.0.0.1:${site.port}/`, column: 'amount' }
    const { output } = await runTemplate('csv-report', input)
    expect(output).toMatchObject({ figures: { rows: 3, values: 2, sum: 4, mean: 2, min: 1.5, max: 2.5 } })
    expect(await run(recipeOf('csv-report'), { ...input, column: 'none' })).toMatchObject({ status: 'failed' })
  },
  async 'contact-extraction'() {
    const hook = await loopbackServer(answering('text/plain', ''))
    const { output } = await runTemplate('contact-extraction', {
      text: 'desk@example.com',
      webhook_url: `http://127.0.0.1:${hook.port}/`,
    })
    expect(output).toMatchObject([{ email: 'desk@example.com' }])
    expect(bodies(hook.seen)).toEqual([{ contacts: output }])
  },
  async 'list-forwarder'() {
    let orders = [{ id: 1 }, { id: 2 }]
    const source = await loopbackServer((request, response) =>
      answering('application/json', { orders })(request, response),
    )
    const target = await loopbackServer(answering('text/plain', ''))
    const input = {
      source_url: `http://127.0.0.1:${source.port}/`,
      list_path: 'orders',
      target_url: `http://127.0.0.1:${target.port}/`,
    }
    expect((await runTemplate('list-forwarder', input)).output).toEqual({ sent: 2, seen: [1, 2] })
    orders = [{ id: 2 }, { id: 3 }]
    expect((await run(recipeOf('list-forwarder'), input)).output).toEqual({ sent: 1, seen: [3, 1, 2] })
    expect(
      bodies(target.seen)
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual([1, 2, 3])
  },
  async 'ticket-triage'() {
    const hook = await loopbackServer(answering('text/plain', ''))
    const { output } = await runTemplate('ticket-triage', {
      ticket: 'Charged twice.',
      webhook_url: `http://127.0.0.1:${hook.port}/`,
    })
    // The offline model takes the first of the choices.
    expect(output).toEqual({ team: 'billing', urgency: 'low', handle: 'in turn' })
    expect(bodies(hook.seen)).toMatchObject([
      { ticket: 'Charged twice.', verdict: { team: 'billing' }, handle: 'in turn' },
    ])
  },
  async 'reply-draft'() {
    const { output } = await runTemplate('reply-draft', { message: 'When?', facts: ['We open at 9.'] })
    expect(output).toContain('We open at 9.')
  },
  async 'feedback-sentiment'() {
    const { output } = await runTemplate('feedback-sentiment', { comments: ['Good.', 'Late.'] })
    expect(output).toMatchObject({
      positive: 2,
      neutral: 0,
      negative: 0,
      not_judged: 0,
      verdicts: [{ topic: 'Good.' }, { topic: 'Late.' }],
    })
  },
  async 'delayed-message'() {
    const hook = await loopbackServer(answering('text/plain', ''))
    const input = { delay: '1h', message: 'Now.', webhook_url: `http://127.0.0.1:${hook.port}/` }
    expect(await runTemplate('delayed-message', input)).toMatchObject({ status: 'waiting' })
    expect(hook.seen).toEqual([])
    await app.database.shiftClock({ seconds: 3601 })
    await runsService.tick(app.runtime)
    await engineOf(app.runtime).idle()
    await app.database.shiftClock({ seconds: 0 })
    expect(bodies(hook.seen)).toMatchObject([{ text: 'Now.' }])
  },
  async 'fallback-source'() {
    const site = await loopbackServer((request, response) =>
      request.url === '/one'
        ? response.writeHead(503).end()
        : answering('application/json', { rate: 2 })(request, response),
    )
    const [first_url, second_url] = ['/one', '/two'].map((path) => `http://127.0.0.1:${site.port}${path}`)
    const { output } = await runTemplate('fallback-source', { first_url, second_url })
    expect(output).toEqual({ source: second_url, body: { rate: 2 } })
    const again = await run(recipeOf('fallback-source'), { first_url: second_url, second_url: first_url })
    expect(again.output).toEqual({ source: second_url, body: { rate: 2 } })
  },
  async 'batch-requests'() {
    const site = await loopbackServer((request, response) =>
      response.writeHead(request.url === '/bad' ? 400 : 200).end(),
    )
    const [good, bad] = ['/good', '/bad'].map((path) => `http://127.0.0.1:${site.port}${path}`)
    const { output } = await runTemplate('batch-requests', { urls: [good, bad], body: { event: 'released' } })
    expect(output).toEqual({ sent: 1, failed: [{ url: bad, error: 'http-status' }] })
    expect(bodies(site.seen)).toEqual([{ event: 'released' }, { event: 'released' }])
  },
}

test('there are a dozen at least, in every category, and each has a test that runs it', async () => {
  expect(templates.length).toBeGreaterThanOrEqual(12)
  expect(templates.map(({ slug }) => slug).toSorted()).toEqual(Object.keys(promises).toSorted())
  const { items } = await read<{ items: { name: string; count: number }[] }>(
    app.get('/api/workflow-templates/categories'),
  )
  for (const { name, count } of items) {
    const listed = await read<{ items: Template[] }>(app.get(`/api/workflow-templates?category=${name}`))
    expect(count).toBeGreaterThan(0)
    expect(listed.items.map(({ category }) => category)).toEqual(Array(count).fill(name))
  }
  expect((await app.get('/api/workflow-templates?category=magic')).status).toBe(422)
  expect(
    (await read<{ items: Template[] }>(app.get('/api/workflow-templates?q=DIGEST'))).items.map(({ slug }) => slug),
  ).toContain('feed-digest')
})

describe.each(templates.map(({ slug }) => slug))('%s', (slug) => {
  test('does what it says', async () => promises[slug]!())

  test('documents every input, and its example is one', async () => {
    const template = await read<Template>(app.get(`/api/workflow-templates/${slug}`))
    const { properties } = template.definition.inputs
    for (const [name, { description }] of Object.entries(properties)) expect(description, name).toBeTruthy()
    expect(Object.keys(properties)).toEqual(expect.arrayContaining(Object.keys(template.example_input)))
    const made = await read<{ id: string }>(
      app.post(`/api/workflow-templates/${slug}/use`, { name: `Example of ${slug}` }),
    )
    const started = await app.post(`/api/workflow-recipes/${made.id}/execute`, { input_data: template.example_input })
    expect(started.status, await started.clone().text()).toBe(202)
    const { id } = await read<{ id: string }>(started)
    await app.post(`/api/executions/${id}/cancel`)
  })
})

test('a template that is none is not found, and a slug that is taken is a conflict', async () => {
  expect((await app.get('/api/workflow-templates/none')).status).toBe(404)
  expect((await app.post('/api/workflow-templates/none/use')).status).toBe(404)
  expect((await app.post('/api/workflow-templates/page-summary/use', { slug: 'taken' })).status).toBe(201)
  expect((await app.post('/api/workflow-templates/page-summary/use', { slug: 'taken' })).status).toBe(409)
})
