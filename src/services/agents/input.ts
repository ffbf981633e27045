import { parseDuration } from '../../lib/duration.ts'
import { AppError, type Fault } from '../../lib/errors.ts'
import { faultOfSlug } from '../../lib/slug.ts'
import { faultsOfChoice } from '../models/choice.ts'
import type { ModelChoice } from '../models/types.ts'
import { isTool, toolNames } from '../tools/registry.ts'
import type { AgentLimits } from './agent.ts'

/** What a caller may set of an agent. */
export interface AgentFields {
  name: string
  slug: string
  description: string | null
  system_prompt: string | null
  model: ModelChoice | null
  tools: string[]
  limits: AgentLimits
}

/** Throws `invalid` with every fault of the fields that are given. */
export function checkAgentFields(fields: Partial<AgentFields>): void {
  const errors = faultsOfAgent(fields)
  if (errors.length > 0) throw new AppError('invalid', 'The agent cannot be stored like this.', { errors })
}

/** What is wrong with fields beyond their shapes. Each is looked at on its own. */
export function faultsOfAgent({ slug, model, tools, limits }: Partial<AgentFields>): Fault[] {
  const faults: Fault[] = []
  const slugFault = slug === undefined ? null : faultOfSlug(slug)
  if (slugFault !== null) faults.push({ pointer: '/slug', detail: slugFault })
  if (model) faults.push(...faultsOfChoice(model, '/model'))
  for (const [index, name] of (tools ?? []).entries()) {
    if (!isTool(name)) {
      faults.push({ pointer: `/tools/${index}`, detail: `there is no such tool: use ${toolNames.join(', ')}` })
    } else if (tools!.indexOf(name) < index) {
      faults.push({ pointer: `/tools/${index}`, detail: 'is named twice' })
    }
  }
  if (typeof limits?.timeout === 'string' && !((parseDuration(limits.timeout) ?? 0) > 0)) {
    faults.push({ pointer: '/limits/timeout', detail: 'must be a duration such as 30s or 5m' })
  }
  return faults
}
