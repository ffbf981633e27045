import { expect, test } from 'vitest'
import { readData, readExample, runExample, StepFailure } from './run-example.ts'

const names = ['feed-digest', 'page-watch', 'data-check']

test.each(names)('%s is a valid recipe with a description and an example for each of its inputs', async (name) => {
  const recipe = await readExample(name)
  expect(recipe.slug).toBe(name)
  expect(recipe.description).toBeTruthy()
  const properties = Object.values(
    (recipe.inputs as { properties: Record<string, { examples?: unknown[] }> }).properties,
  )
  for (const property of properties) expect(property.examples).not.toHaveLength(0)
})

test('the feed digest summarizes the newest items, newest first, and writes Markdown', async () => {
  const output = await runExample(await readExample('feed-digest'), {
    input: { feed_url: 'http://127.0.0.1/feed.xml', limit: 2, zone: 'Europe/Berlin' },
    body: await readData('feed.xml'),
    mediaType: 'application/rss+xml',
    answer: (context) => ` About ${(context as { title: string }).title}.\n`,
  })
  expect(output['items']).toBe(2)
  expect(output['newest']).toBe('2024-05-01T00:00:00.000Z')
  expect(output['markdown']).toBe(
    `# Internet standards: selected RFCs

2 of 6 items

## [RFC 9562: Universally Unique IDentifiers (UUIDs)](https://www.rfc-editor.org/info/rfc9562)

*1 May 2024*

About RFC 9562: Universally Unique IDentifiers (UUIDs).

## [RFC 9457: Problem Details for HTTP APIs](https://www.rfc-editor.org/info/rfc9457)

*1 Jul 2023*

About RFC 9457: Problem Details for HTTP APIs.
`,
  )
})

test('the feed digest takes five items where no limit is given, and an empty feed gives an empty digest', async () => {
  const recipe = await readExample('feed-digest')
  const input = { feed_url: 'http://127.0.0.1/feed.xml' }
  expect(await runExample(recipe, { input, body: await readData('feed.xml'), mediaType: 'text/xml' })).toMatchObject({
    items: 5,
  })
  const body = new TextEncoder().encode('<rss version="2.0"><channel><title>Quiet</title></channel></rss>')
  expect(await runExample(recipe, { input, body, mediaType: 'text/xml' })).toEqual({
    items: 0,
    newest: null,
    markdown: '# Quiet\n\n0 of 0 items\n',
  })
})

test('the page watch acts only on change', async () => {
  const recipe = await readExample('page-watch')
  const page = await readData('page.html')
  const watch = (body: Uint8Array, previous: Parameters<typeof runExample>[1]['previous'], asked: string[] = []) =>
    runExample(recipe, {
      input: { page_url: 'http://127.0.0.1/page.html' },
      body,
      mediaType: 'text/html; charset=utf-8',
      previous: previous ?? null,
      answer: (context) => {
        asked.push(JSON.stringify(context))
        return 'One entry was replaced.'
      },
    })

  const first = await watch(page, null)
  expect(first).toMatchObject({ changed: false, report: expect.stringContaining('First look') })

  const asked: string[] = []
  const previous = { output: first, finished_at: '2026-02-28T10:00:00.000Z' }
  expect(await watch(page, previous, asked)).toMatchObject({
    changed: false,
    hash: first['hash'],
    report: 'http://127.0.0.1/page.html has not changed since 2026-02-28T10:00:00.000Z.',
  })
  // White space and styles are no change: what a reader reads is.
  const restyled = new TextDecoder().decode(page).replaceAll(/\n\s*/g, '\n').replace('sans-serif', 'serif')
  expect(await watch(new TextEncoder().encode(restyled), previous, asked)).toMatchObject({ changed: false })
  expect(asked).toEqual([])

  const edited = new TextDecoder().decode(page).replace('<li>404 Not Found</li>', '<li>410 Gone</li>')
  expect(await watch(new TextEncoder().encode(edited), previous, asked)).toMatchObject({
    changed: true,
    report: `# http://127.0.0.1/page.html has changed

One entry was replaced.

## Added

- - 410 Gone

## Removed

- - 404 Not Found
`,
  })
  expect(asked).toEqual(['{"added":["- 410 Gone"],"removed":["- 404 Not Found"]}'])
})

test('the data check counts good rows and names what is wrong with each bad one', async () => {
  const output = await runExample(await readExample('data-check'), {
    input: { data_url: 'http://127.0.0.1/orders.csv' },
    body: await readData('orders.csv'),
    mediaType: 'text/csv',
  })
  expect(output).toMatchObject({ ok: false, rows: 10, bad_rows: 6, repeated: 1 })
  expect(output['report']).toBe(
    `# Data check: 6 of 10 rows are bad

Repeated order numbers: 1

| order | problems |
|---|---|
| ORD-0003 | quantity must be a positive whole number |
| ORD-0005 | currency is not accepted |
| ORD-0006 | ordered_on must be a date such as 2026-01-31 |
| 0007 | order_id must look like ORD-0001 |
| ORD-0008 | unit_price must be an amount such as 9.90 |
| ORD-0010 | currency is not accepted; ordered_on must be a date such as 2026-01-31 |
`,
  )
})

test('the data check accepts a JSON list of good rows, and fails on what is no table', async () => {
  const recipe = await readExample('data-check')
  const rows = [{ order_id: 'ORD-0001', quantity: 2, unit_price: 4.5, currency: 'CHF', ordered_on: '2026-01-31' }]
  const check = (value: unknown) =>
    runExample(recipe, {
      input: { data_url: 'http://127.0.0.1/orders.json', currencies: ['CHF'] },
      body: new TextEncoder().encode(JSON.stringify(value)),
      mediaType: 'application/json',
    })
  expect(await check(rows)).toMatchObject({
    ok: true,
    rows: 1,
    bad_rows: 0,
    report: '# Data check: all 1 rows are good\n',
  })
  await expect(check({ error: 'gone' })).rejects.toThrow(StepFailure)
  await expect(check(['not a row'])).rejects.toThrow(StepFailure)
})
