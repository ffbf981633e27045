import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { Fault } from '../../lib/errors.ts'
import { isObject } from '../../lib/json.ts'
import { nextTurn } from '../../lib/next-turn.ts'
import { pointerTo } from '../../lib/pointer.ts'
import type { Agent } from '../agents/agent.ts'
import { definitionLimits } from '../recipes/definition.ts'
import { similarityTo } from './text-similarity.ts'

/** What a plan writes where it leaves the choice to us. */
export const anyAgent = 'auto'
/** Agents that fit about as well as the best one: among them the least busy gets the step. */
const margin = 0.05
/** Below it, an agent has nothing to do with a step. */
const leastSimilarity = 0.02
const loadMinutes = 15
const maxConsidered = 5

export type Candidate = Pick<Agent, 'id' | 'slug' | 'name' | 'description' | 'system_prompt' | 'tools'> & {
  /** Model calls of the last quarter of an hour. */
  load: number
}

/** Who carries out a step, and why. A type, not an interface, so that it is JSON. */
export type Assignment = {
  step_id: string
  /** Null: no agent fits, so the step asks a model directly. */
  agent_id: string | null
  agent_slug: string | null
  /** `named`: the plan says so. `similarity`: it fits best. `load`: of those that fit about as well, the least busy. */
  chosen_by: 'named' | 'similarity' | 'load' | 'none'
  considered: { agent_slug: string; similarity: number; load: number }[]
}

export interface Assigned {
  steps: unknown
  assignments: Assignment[]
  faults: Fault[]
}

/**
 * Fills in the agents of a plan's steps, those of nested lists included. `insist`: the caller named the agents, so one of
 * them gets each step, however little it fits. Looks at nothing but the members it needs; the validator does the rest.
 */
export async function assignAgents(
  steps: unknown,
  candidates: readonly Candidate[],
  insist: boolean,
): Promise<Assigned> {
  // A plan of more steps is refused by the validator; their agents are nobody's concern.
  const texts = openSteps(steps).slice(0, definitionLimits.steps).map(textOf)
  const scores = await capabilityScores(texts, candidates)
  const scoresOf = new Map(texts.map((text, index) => [text, scores[index]!]))
  const assignments: Assignment[] = []
  const faults: Fault[] = []
  const busy = new Map<string, number>()

  const list = (value: unknown, pointer: string): unknown =>
    Array.isArray(value) ? value.map((item, index) => step(item, pointerTo(pointer, index))) : value
  const step = (value: unknown, pointer: string): unknown => {
    if (!isObject(value)) return value
    const inner = {
      ...value,
      ...('steps' in value && { steps: list(value['steps'], `${pointer}/steps`) }),
      ...(Array.isArray(value['cases']) && {
        cases: value['cases'].map((item: unknown, index) =>
          isObject(item) ? { ...item, steps: list(item['steps'], `${pointer}/cases/${index}/steps`) } : item,
        ),
      }),
      ...('default' in value &&
        value['kind'] === 'branch' && { default: list(value['default'], `${pointer}/default`) }),
    }
    return value['kind'] === 'agent' ? agentStep(inner, pointer) : inner
  }
  const agentStep = (value: Record<string, unknown>, pointer: string): unknown => {
    const { agent, ...rest } = value
    const step_id = String(value['id'] ?? '')
    if (!isOpen(value)) {
      const named = candidates.find(({ id, slug }) => id === agent || slug === agent)
      if (named) assignments.push({ step_id, ...names(named), chosen_by: 'named', considered: [] })
      else
        faults.push({ pointer: `${pointer}/agent`, detail: 'is none of the agents that may be used; "auto" picks one' })
      return value
    }
    const { chosen, chosen_by, considered } = choose(scoresOf.get(textOf(value)) ?? [], candidates, busy, insist)
    assignments.push({ step_id, ...names(chosen), chosen_by, considered })
    if (!chosen) return { ...rest, kind: 'llm' }
    busy.set(chosen.id, (busy.get(chosen.id) ?? 0) + 1)
    return { ...rest, agent: chosen.slug }
  }
  return { steps: list(steps, '/steps'), assignments, faults }
}

const names = (agent: Candidate | null) => ({ agent_id: agent?.id ?? null, agent_slug: agent?.slug ?? null })

/** An agent step that leaves the choice to us. */
const isOpen = ({ kind, agent }: Record<string, unknown>): boolean =>
  kind === 'agent' && (agent === undefined || agent === '' || agent === anyAgent)

/** The steps whose agents are to be chosen, wherever they stand. */
function openSteps(value: unknown): Record<string, unknown>[] {
  if (Array.isArray(value)) return value.flatMap(openSteps)
  if (!isObject(value)) return []
  return [...(isOpen(value) ? [value] : []), ...['steps', 'cases', 'default'].flatMap((name) => openSteps(value[name]))]
}

/**
 * How well each candidate fits each of the texts, between 0 and 1. The one place that knows how capability is told: by the
 * words of their descriptions.
 */
export async function capabilityScores(
  texts: readonly string[],
  candidates: readonly Candidate[],
): Promise<number[][]> {
  const score = similarityTo(candidates.map(capabilitiesOf))
  const scores: number[][] = []
  for (const text of texts) {
    // Hundreds of steps against hundreds of agents: whoever else waits for this thread comes in between.
    if (scores.length > 0) await nextTurn()
    scores.push(score(text))
  }
  return scores
}

function choose(
  scores: readonly number[],
  candidates: readonly Candidate[],
  busy: ReadonlyMap<string, number>,
  insist: boolean,
): { chosen: Candidate | null } & Pick<Assignment, 'chosen_by' | 'considered'> {
  const ranked = candidates
    .map((agent, index) => ({
      agent,
      similarity: scores[index] ?? 0,
      load: agent.load + (busy.get(agent.id) ?? 0),
    }))
    .toSorted((a, b) => b.similarity - a.similarity || a.load - b.load || (a.agent.slug < b.agent.slug ? -1 : 1))
  const considered = ranked
    .slice(0, maxConsidered)
    .map(({ agent, similarity, load }) => ({ agent_slug: agent.slug, similarity, load }))
  const best = ranked[0]
  if (!best || (best.similarity < leastSimilarity && !insist)) return { chosen: null, chosen_by: 'none', considered }
  const alike = ranked.filter(({ similarity }) => similarity >= best.similarity - margin)
  const least = alike.reduce((a, b) => (b.load < a.load ? b : a))
  return { chosen: least.agent, chosen_by: least === best ? 'similarity' : 'load', considered }
}

/** As much of a task as tells what it is about. */
const maxTaskText = 4_000

/** The task in words, without what templates put in at the time. */
function textOf({ name, prompt }: Record<string, unknown>): string {
  return [name, prompt]
    .filter((part) => typeof part === 'string')
    .join(' ')
    .slice(0, maxTaskText)
    .replace(/\{\{.*?\}\}|\{%.*?%\}/gs, ' ')
}

const capabilitiesOf = ({ name, slug, description, system_prompt, tools }: Candidate): string =>
  [name, slug.replaceAll('-', ' '), description, system_prompt?.slice(0, 2000), tools.join(' ').replaceAll('_', ' ')]
    .filter(Boolean)
    .join(' ')

const maxCandidates = 200

/** The agents that a plan may use: those that were named, or any, less those whose tools are not allowed. */
export async function loadCandidates(
  db: Kysely<Database>,
  workspaceId: string,
  allowed: { agents: readonly string[] | null; tools: readonly string[] | null },
): Promise<Candidate[]> {
  const { agents, tools } = allowed
  if (agents?.length === 0) return []
  const rows = await db
    .selectFrom('agents as a')
    .select(['a.id', 'a.slug', 'a.name', 'a.description', 'a.system_prompt', 'a.tools'])
    .select(
      sql<number>`(select count(*)::integer from model_usage u
        where u.agent_id = a.id and u.created_at > app_now() - make_interval(mins => ${loadMinutes}::integer))`.as(
        'load',
      ),
    )
    .where('a.workspace_id', '=', workspaceId)
    .where('a.deleted_at', 'is', null)
    .$if(agents !== null, (query) => query.where('a.id', 'in', [...agents!]))
    .orderBy('a.created_at', 'desc')
    .limit(maxCandidates)
    .execute()
  return rows.filter((row) => tools === null || row.tools.every((tool) => tools.includes(tool)))
}
