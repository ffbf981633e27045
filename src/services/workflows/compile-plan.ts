import type { Fault } from '../../lib/errors.ts'
import { isObject, type JsonObject } from '../../lib/json.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import { validateDefinition } from '../recipes/validate.ts'
import { assignAgents, type Assignment, type Candidate } from './assign-agents.ts'
import { attentionTo, namedBy } from './attention.ts'

export const maxPlanSteps = 20

/** What the planner may use. A person who edits a plan may use every kind of step. */
export const plannerKinds = [
  'agent',
  'llm',
  'tool',
  'http',
  'transform',
  'branch',
  'foreach',
  'wait',
  'approval',
  'notify',
  'fail',
] as const

/** Members of a step that only a person sets: which model answers, and where, is not the planner's to choose. */
export const notThePlanners: readonly string[] = ['model', 'once']

/** What a run of any plan is given. None is required, so that the recipe can be run again or scheduled on its own. */
export const planInputs: JsonObject = {
  type: 'object',
  properties: {
    goal: { type: 'string', description: 'What the workflow is for.' },
    context: { description: 'What was given with the goal.' },
    results: { type: 'object', description: 'What the steps of earlier plans gave, by step id.' },
  },
}

export interface PlanRules {
  /** Hosts that it names are reached without asking. */
  goal: string
  candidates: readonly Candidate[]
  /** Null: any tool. */
  tools: readonly string[] | null
  agentsNamed: boolean
  by: 'planner' | 'person'
}

export interface CompiledPlan {
  definition: RecipeDefinition
  assignments: Assignment[]
  attention: string[]
}

/**
 * A recipe of what the planner, or a person, wrote: the same format, the same validator, less what is ours to say (inputs,
 * slug, settings). Every fault at once, by pointer into what was written.
 */
export async function compilePlan(
  plan: unknown,
  rules: PlanRules,
): Promise<{ compiled: CompiledPlan; faults: null } | { compiled: null; faults: Fault[] }> {
  if (!isObject(plan)) return { compiled: null, faults: [{ pointer: '', detail: 'must be an object with steps' }] }
  const { name, description, output } = plan
  const assigned = await assignAgents(plan['steps'], rules.candidates, rules.agentsNamed)
  const { definition, faults } = validateDefinition({
    name: typeof name === 'string' && name.trim() !== '' ? name.slice(0, 200) : nameOf(rules.goal),
    ...(typeof description === 'string' && { description: description.slice(0, 4000) }),
    inputs: planInputs,
    steps: assigned.steps,
    ...(output !== undefined && { output }),
  })
  const steps = stepsOf(plan['steps'], '/steps')
  const all = [...assigned.faults, ...faults, ...stepFaults(steps, rules)]
  if (!definition || all.length > 0) return { compiled: null, faults: all }
  const known = namedBy(rules.goal)
  const attention =
    rules.by === 'person'
      ? []
      : stepsOf(definition.steps, '').flatMap(({ step }) => attentionTo(step, known, rules.candidates))
  return { compiled: { definition, assignments: assigned.assignments, attention }, faults: null }
}

/** A name from the goal's first words. */
export function nameOf(goal: string): string {
  const line = goal.replace(/\s+/g, ' ').trim()
  if (line.length <= 80) return line
  const cut = line.lastIndexOf(' ', 79)
  return `${line.slice(0, cut > 20 ? cut : 79)}…`
}

interface PlacedStep {
  step: Record<string, unknown>
  pointer: string
}

/** Every step, those of nested lists included. */
function stepsOf(list: unknown, pointer: string): PlacedStep[] {
  if (!Array.isArray(list)) return []
  return list.flatMap((step: unknown, index) => {
    const at = `${pointer}/${index}`
    if (!isObject(step)) return []
    const cases = Array.isArray(step['cases']) ? (step['cases'] as unknown[]) : []
    return [
      { step, pointer: at },
      ...stepsOf(step['steps'], `${at}/steps`),
      ...cases.flatMap((item, n) => (isObject(item) ? stepsOf(item['steps'], `${at}/cases/${n}/steps`) : [])),
      ...stepsOf(step['default'], `${at}/default`),
    ]
  })
}

function stepFaults(steps: PlacedStep[], { tools, by }: PlanRules): Fault[] {
  const faults: Fault[] = []
  if (steps.length > maxPlanSteps)
    faults.push({
      pointer: '/steps',
      detail: `has ${steps.length} steps with those inside of others, at most ${maxPlanSteps} may be`,
    })
  for (const { step, pointer } of steps) {
    const { kind } = step
    if (by === 'planner' && typeof kind === 'string' && !(plannerKinds as readonly string[]).includes(kind))
      faults.push({ pointer: `${pointer}/kind`, detail: `must be one of ${plannerKinds.join(', ')}` })
    for (const name of by === 'planner' ? notThePlanners.filter((each) => each in step) : [])
      faults.push({ pointer: `${pointer}/${name}`, detail: 'is not for a plan to say' })
    if (kind === 'http' && tools !== null && !tools.includes('http_request'))
      faults.push({
        pointer: `${pointer}/kind`,
        detail: 'must not be http: the tool http_request is not among those allowed',
      })
    if (kind === 'tool' && tools !== null && !tools.includes(String(step['tool'])))
      faults.push({ pointer: `${pointer}/tool`, detail: `must be one of the tools allowed: ${tools.join(', ')}` })
    for (const outward of kind === 'notify' ? ['webhook', 'email'].filter((each) => each in step) : [])
      if (tools !== null && !tools.includes('http_request'))
        faults.push({
          pointer: `${pointer}/${outward}`,
          detail: 'must be log: the tool http_request is not among those allowed',
        })
  }
  return faults
}
