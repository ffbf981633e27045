// Shows the product at its main job, on an empty folder: a feed digest fires on its schedule, is followed live, and
// leaves its digest and its ledger. `npm run demo [feed url]`
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DemoClient } from './demo/client.ts'
import { describeEvent } from './demo/describe-event.ts'
import { serveFeed, startServer } from './demo/server.ts'

interface Slot {
  slot_at: string
  status: string
  reason: string | null
  execution_id: string | null
  fired_at: string | null
}

const examples = new URL('../../examples/', import.meta.url)
const example = async (name: string) => JSON.parse(await readFile(new URL(name, examples), 'utf8')) as object
const say = (line = '') => console.log(line)
const dim = (text: string) => (process.stdout.isTTY ? `\u001b[2m${text}\u001b[0m` : text)

async function demo(feedUrl: string | undefined): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'automatos-demo-'))
  const feed = feedUrl ? null : await serveFeed(new URL('data/feed.xml', examples))
  const started = performance.now()
  const server = await startServer({ dataDir, egressAllow: feed ? [feed.host] : [] })
  try {
    say(`Server      ${server.url} on an empty folder, up after ${((performance.now() - started) / 1000).toFixed(1)} s`)
    const api = new DemoClient(server.url, server.adminKey)
    const model = await api.call<{ provider: string; model: string; simulated: boolean }>('GET', '/api/models/default')
    say(`Model       ${model.provider}/${model.model}${model.simulated ? ' (simulated answers)' : ''}`)

    const agent = await api.call<{ slug: string }>('POST', '/api/agents', await example('summarizer.agent.json'))
    say(`Agent       ${agent.slug}`)
    const recipe = await example('feed-digest.json')
    const { slug, version } = await api.call<{ slug: string; version: number }>('POST', '/api/workflow-recipes', recipe)
    say(`Recipe      ${slug}, version ${version}`)
    const schedule = await api.call<{ id: string }>('POST', '/api/schedules', {
      recipe_id: slug,
      cron: '*/5 * * * * *',
      input_data: { feed_url: feed?.url ?? feedUrl },
    })
    say(`Schedule    every five seconds, for one run`)
    say(`Feed        ${feed ? `${feed.url} (captured, served on loopback)` : feedUrl}`)
    say()

    const first = await firstFired(api, schedule.id)
    await api.call('POST', `/api/schedules/${schedule.id}/pause`)
    say(`Slot ${first.slot_at} fired at ${first.fired_at} as execution ${first.execution_id}`)
    for await (const { event, data } of api.events(`/api/executions/${first.execution_id}/events`)) {
      const line = describeEvent(event, JSON.parse(data) as { created_at: string; data: Record<string, unknown> })
      if (line) say(dim(line))
    }

    const run = await api.call<{ status: string; output: { markdown: string }; error: unknown; usage: object }>(
      'GET',
      `/api/executions/${first.execution_id}`,
    )
    say()
    if (run.status !== 'succeeded') throw new Error(`The run has ${run.status}: ${JSON.stringify(run.error)}`)
    say(run.output.markdown)
    say()
    say('Ledger')
    const { items } = await api.call<{ items: Slot[] }>('GET', `/api/schedules/${schedule.id}/slots`)
    for (const slot of items)
      say(
        `  ${slot.slot_at}  ${slot.status.padEnd(9)} ${slot.reason ?? ''}${slot.execution_id ? ` → ${slot.execution_id}` : ''}`,
      )
    say(`Usage       ${JSON.stringify(run.usage)}`)
  } finally {
    await server.stop()
    feed?.close()
    await rm(dataDir, { recursive: true, force: true })
  }
}

/** Waits for the ledger to show a slot that fired. */
async function firstFired(api: DemoClient, scheduleId: string): Promise<Slot> {
  for (;;) {
    const { items } = await api.call<{ items: Slot[] }>('GET', `/api/schedules/${scheduleId}/slots`)
    const fired = items.findLast((slot) => slot.status === 'fired')
    if (fired) return fired
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

const [argument] = process.argv.slice(2)
if (argument !== undefined && !URL.canParse(argument)) {
  console.error(`"${argument}" is not a URL. Usage: npm run demo [feed url]`)
  process.exit(64)
}
try {
  await demo(argument)
} catch (error) {
  console.error((error as Error).message)
  process.exit(1)
}
