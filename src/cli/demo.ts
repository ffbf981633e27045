// Shows the product at its main job, on an empty folder: a feed digest fires on its schedule, is followed live, and
// leaves its digest and its ledger. `npm run demo [feed url]`
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  createAutomatos,
  followExecution,
  type Automatos,
  type NewAgent,
  type RecipeInput,
  type Slot,
} from '../../clients/typescript/src/index.ts'
import { describeEvent } from './automatos/describe-event.ts'
import { serveFeed, startServer } from './demo/server.ts'

const examples = new URL('../../examples/', import.meta.url)
const example = async <T>(name: string) => JSON.parse(await readFile(new URL(name, examples), 'utf8')) as T
const say = (line = '') => console.log(line)
const dim = (text: string) => (process.stdout.isTTY ? `\u001b[2m${text}\u001b[0m` : text)

async function demo(feedUrl: string | undefined): Promise<void> {
  const dataDir = await mkdtemp(join(tmpdir(), 'automatos-demo-'))
  const feed = feedUrl ? null : await serveFeed(new URL('data/feed.xml', examples))
  const started = performance.now()
  const server = await startServer({ dataDir, egressAllow: feed ? [feed.host] : [] })
  try {
    say(`Server      ${server.url} on an empty folder, up after ${((performance.now() - started) / 1000).toFixed(1)} s`)
    const api = createAutomatos({ baseUrl: server.url, apiKey: server.adminKey })
    const { data: model } = await api.getDefaultModel()
    say(`Model       ${model.provider}/${model.model}${model.simulated ? ' (simulated answers)' : ''}`)

    const { data: agent } = await api.createAgent({ body: await example<NewAgent>('summarizer.agent.json') })
    say(`Agent       ${agent.slug}`)
    const { data: recipe } = await api.createRecipe({ body: await example<RecipeInput>('feed-digest.json') })
    say(`Recipe      ${recipe.slug}, version ${recipe.version}`)
    const { data: schedule } = await api.createSchedule({
      body: { recipe_id: recipe.slug, cron: '*/5 * * * * *', input_data: { feed_url: feed?.url ?? feedUrl ?? null } },
    })
    say(`Schedule    every five seconds, for one run`)
    say(`Feed        ${feed ? `${feed.url} (captured, served on loopback)` : feedUrl}`)
    say()

    const path = { schedule: schedule.id }
    const first = await firstFired(api, schedule.id)
    await api.pauseSchedule({ path })
    say(`Slot ${first.slot_at} fired at ${first.fired_at} as execution ${first.execution_id}`)
    for await (const event of followExecution(api, first.execution_id)) {
      const line = describeEvent(event)
      if (line !== null) say(dim(line))
    }

    const { data: run } = await api.getExecution({ path: { execution: first.execution_id } })
    say()
    if (run.status !== 'succeeded') throw new Error(`The run has ${run.status}: ${JSON.stringify(run.error)}`)
    say((run.output as { markdown: string }).markdown)
    say()
    say('Ledger')
    const { data: ledger } = await api.listSlots({ path })
    for (const slot of ledger.items)
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
async function firstFired(api: Automatos, schedule: string): Promise<Slot & { execution_id: string }> {
  for (;;) {
    const { data } = await api.listSlots({ path: { schedule } })
    const fired = data.items.findLast((slot) => slot.status === 'fired')
    if (fired?.execution_id) return { ...fired, execution_id: fired.execution_id }
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
