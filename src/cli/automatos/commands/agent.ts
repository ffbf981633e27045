import type { Command } from 'commander'
import { CliError } from '../cli-error.ts'
import { followToEnd, waitForOutput } from '../follow.ts'
import { parseLimit, showPage, takeItems, type ListOptions } from '../pages.ts'
import { addCommand, addGroup, type Outcome, type Session } from '../session.ts'
import { readStdin } from '../stdin.ts'
import { localTime } from '../text.ts'

interface RunOptions {
  context?: string
  follow?: boolean
  detach?: boolean
  idempotencyKey?: string
}

export function addAgentCommands(program: Command, { run }: Outcome): void {
  const agent = addGroup(program, 'agent', 'Agents: configured workers with a prompt, a model and tools.')

  addCommand(agent, 'list', 'List agents, newest first.', ['agent list'])
    .option('-n, --limit <n>', 'how many at most', parseLimit, 50)
    .action(run<[], ListOptions>(listAgents))

  addCommand(
    agent,
    'apply <path...>',
    'Create or update agents from YAML or JSON files, folders of *.agent.* files, or - for standard input.',
    ['agent apply examples/summarizer.agent.json', 'agent apply examples/'],
  ).action(run<[string[]], object>(apply))

  addCommand(
    agent,
    'run <agent> [prompt...]',
    'Ask an agent and print its answer. Without a prompt it is read from standard input.',
    [
      'agent run summarizer "What changed?" --context \'{"notes": "Faster start."}\'',
      'git log -5 | automatos agent run summarizer',
    ],
  )
    .option('--context <json>', 'data beside the prompt; what is no JSON is taken as text')
    .option('-f, --follow', 'show the run while it goes')
    .option('-d, --detach', 'start the run and print its id')
    .option('--idempotency-key <key>', 'the same key with the same request starts one run')
    .action(run<[string, string[]], RunOptions>(runAgent))
}

async function listAgents(session: Session, { limit }: ListOptions): Promise<void> {
  const page = await takeItems(limit, (query) => session.api.listAgents({ query }))
  showPage(
    session,
    page,
    [
      { title: 'AGENT', of: ({ slug }) => slug, fixed: true },
      { title: 'NAME', of: ({ name }) => name },
      { title: 'MODEL', of: ({ model }) => (model === null ? 'default' : `${model.provider}/${model.model}`) },
      { title: 'TOOLS', of: ({ tools }) => tools.join(' ') },
      { title: 'VERSION', of: ({ version }) => version },
      { title: 'CHANGED', of: ({ updated_at }) => localTime(updated_at) },
    ],
    { many: 'agents' },
  )
}

async function apply({ api, terminal }: Session, _: object, paths: string[]): Promise<void> {
  const { applyAgents } = await import('../agent-apply.ts')
  const applied = await applyAgents(api, paths)
  if (terminal.json) return terminal.document({ items: applied })
  const { green, yellow, dim } = terminal.style
  const paint = { created: green, updated: yellow, unchanged: dim }
  for (const { slug, outcome, version } of applied)
    terminal.line(`${paint[outcome](outcome)} ${slug}, version ${version}`)
}

async function runAgent(session: Session, options: RunOptions, agent: string, words: string[]): Promise<number | void> {
  const { api, terminal } = session
  const prompt = words.length === 0 || words.join(' ') === '-' ? (await readStdin()).trim() : words.join(' ')
  if (prompt === '') throw new CliError('There is nothing to ask: give a prompt.')
  const { data: started } = await api.executeAgent({
    path: { agent },
    ...(options.idempotencyKey !== undefined && { headers: { 'idempotency-key': options.idempotencyKey } }),
    body: { prompt, ...(options.context !== undefined && { context: jsonOrText(options.context) }) },
  })
  if (options.follow) {
    if (terminal.json) terminal.jsonLine({ type: 'started', execution: started })
    return followToEnd(session, started.id)
  }
  if (!options.detach) return waitForOutput(session, started.id, textOf)
  if (terminal.json) return terminal.document(started)
  terminal.line(started.id)
}

/** An agent's output holds the answer beside what it took to get it. */
function textOf({ output }: { output?: unknown }): unknown {
  const text = (output as { text?: unknown } | null | undefined)?.text
  return typeof text === 'string' ? text : output
}

type Json = { [key: string]: unknown } | unknown[] | string | number | boolean | null

function jsonOrText(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch {
    return text
  }
}
