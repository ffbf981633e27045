import type { AgentsTable } from '../../db/tables/agents.table.ts'
import type { Selectable } from 'kysely'
import { entityTag } from '../../lib/etag.ts'
import type { ModelChoice } from '../models/types.ts'

/** What bounds one execution of an agent. */
export type AgentLimits = {
  /** Model rounds of one execution. */
  max_rounds?: number
  /** Tokens that all rounds of one execution may write together. */
  max_output_tokens?: number
  /** Longest time of one attempt, as a duration such as `5m`. */
  timeout?: string
}
export const defaultMaxRounds = 10

/** An agent as the wire shows it. */
export interface Agent {
  id: string
  slug: string
  name: string
  description: string | null
  version: number
  system_prompt: string | null
  model: ModelChoice | null
  tools: string[]
  limits: AgentLimits
  created_at: string
  updated_at: string
}

/** Every change has a version of its own. */
export const agentTag = ({ id, version }: Agent): string => entityTag({ id, version })

export function toAgent(row: Selectable<AgentsTable>): Agent {
  return {
    id: row.id,
    slug: row.slug,
    name: row.name,
    description: row.description,
    version: row.version,
    system_prompt: row.system_prompt,
    // Both were validated when they were written.
    model: row.model as unknown as ModelChoice | null,
    tools: row.tools,
    limits: row.limits as AgentLimits,
    created_at: row.created_at.toISOString(),
    updated_at: row.updated_at.toISOString(),
  }
}
