import type { Agent, AgentChanges, NewAgent } from '../../../clients/typescript/src/index.ts'
import { isObject, type JsonObject } from '../../lib/json.ts'
import { CliError } from './cli-error.ts'
import { exitCodes } from './exit-codes.ts'
import type { Session } from './session.ts'

export interface AppliedAgent {
  file: string
  slug: string
  outcome: 'created' | 'updated' | 'unchanged'
  version: number
}

/** What an agent is of which its file says nothing. */
const unsaid = { description: null, system_prompt: null, model: null, tools: [] } satisfies AgentChanges
const unlimited = { max_rounds: null, max_output_tokens: null, timeout: null } satisfies AgentChanges['limits']

/** Brings the agents of the server to what files say, each a document with a slug. All are read before the first is written. */
export async function applyAgents(api: Session['api'], paths: readonly string[]): Promise<AppliedAgent[]> {
  const { readAgentFiles } = await import('./recipe-files.ts')
  const files = await readAgentFiles(paths)
  const agents = files.map(({ file, document }) => ({ file, ...agentOf(file, document) }))
  const applied: AppliedAgent[] = []
  for (const { file, slug, agent } of agents) {
    const before = await getOrNull(api, slug)
    const { data } = before
      ? await api.updateAgent({ path: { agent: before.id }, body: changesOf(agent) })
      : // Safe: the server checks it, and names every fault.
        await api.createAgent({ body: agent as unknown as NewAgent })
    const outcome = before === null ? 'created' : before.version === data.version ? 'unchanged' : 'updated'
    applied.push({ file, slug: data.slug, outcome, version: data.version })
  }
  return applied
}

function agentOf(file: string, document: unknown): { slug: string; agent: JsonObject } {
  if (!isObject(document))
    throw new CliError(`${file} must hold an agent: an object with a name and a slug.`, exitCodes.invalid)
  const { $schema: _, ...agent } = document as JsonObject
  const slug = agent['slug']
  if (typeof slug !== 'string' || slug === '') {
    throw new CliError(`${file} needs a slug: by it the agent is found again.`, exitCodes.invalid)
  }
  if ('steps' in agent) throw new CliError(`${file} is a recipe: use automatos recipe apply.`, exitCodes.invalid)
  return { slug, agent }
}

function changesOf(agent: JsonObject): AgentChanges {
  const limits = isObject(agent['limits']) ? agent['limits'] : {}
  return { ...unsaid, ...agent, limits: { ...unlimited, ...limits } } as AgentChanges
}

async function getOrNull(api: Session['api'], slug: string): Promise<Agent | null> {
  const { ApiError } = await import('../../../clients/typescript/src/index.ts')
  try {
    return (await api.getAgent({ path: { agent: slug } })).data
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null
    throw error
  }
}
