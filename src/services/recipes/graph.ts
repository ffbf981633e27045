import { isObject } from '../../lib/json.ts'

/** Steps of one list, a bit each, so that who follows whom is asked of all of them at once. */
export type StepSet = bigint

/** What of a step says where it stands among the steps of its list. */
export interface Needing {
  /** Null where it is faulty. */
  id: string | null
  needs?: readonly string[] | undefined
}

/** The order of a list of steps; steps are named by their positions in it. */
export interface StepGraph {
  /** What each step waits for: what it says, else the step before it. */
  needs: readonly (readonly number[])[]
  /** All that have ended when a step starts. */
  before: readonly StepSet[]
  /** All that start once a step has ended. */
  after: readonly StepSet[]
}

const sets: StepSet[] = []
export const setOf = (position: number): StepSet => (sets[position] ??= 1n << BigInt(position))
export const has = (set: StepSet, position: number): boolean => (set & setOf(position)) !== 0n
export const membersOf = (set: StepSet, count: number): number[] =>
  Array.from({ length: count }, (_, position) => position).filter((position) => has(set, position))

/** The order of a list, or steps of it that wait for each other: each needs the next, and the last one the first. */
export function graphOf(steps: readonly Needing[]): { graph: StepGraph } | { cycle: number[] } {
  const positions = new Map<string, number>()
  for (const [position, { id }] of steps.entries()) if (id !== null && !positions.has(id)) positions.set(id, position)
  const needs = steps.map((step, position) =>
    step.needs ? step.needs.flatMap((id) => positions.get(id) ?? []) : position > 0 ? [position - 1] : [],
  )
  const before: (StepSet | undefined)[] = []
  const way: number[] = []
  let cycle: number[] | null = null
  const settle = (position: number): StepSet => {
    const known = before[position]
    if (known !== undefined) return known
    const met = way.indexOf(position)
    if (met >= 0) {
      cycle ??= way.slice(met)
      return 0n
    }
    way.push(position)
    const set = needs[position]!.reduce((sum, need) => sum | settle(need) | setOf(need), 0n)
    way.pop()
    return (before[position] = set)
  }
  const settled = steps.map((_, position) => settle(position))
  if (cycle !== null) return { cycle }
  const after = settled.map((_, position) =>
    settled.reduce((sum, set, later) => (has(set, position) ? sum | setOf(later) : sum), 0n),
  )
  return { graph: { needs, before: settled, after } }
}

const graphs = new WeakMap<readonly Needing[], StepGraph>()

/** The order of a checked list where its steps say what they need; null where they simply follow each other. */
export function graphOfNeeds(steps: readonly Needing[]): StepGraph | null {
  if (!steps.some(({ needs }) => needs !== undefined)) return null
  const known = graphs.get(steps)
  if (known) return known
  const order = graphOf(steps)
  if ('cycle' in order) throw new Error('Steps of a list that was checked wait for each other.')
  graphs.set(steps, order.graph)
  return order.graph
}

/**
 * What a jump from a step that has failed does: `back`, these steps are done again; `ahead`, these are passed over. It may
 * not lead to a step that runs `beside` it, nor back to one whose result a step beside it has built on (`shared`).
 */
export type Jump =
  | { kind: 'back'; again: StepSet }
  | { kind: 'ahead'; passed: StepSet }
  | { kind: 'beside' }
  | { kind: 'shared'; by: StepSet }

export function jumpOf({ before, after }: StepGraph, from: number, to: number): Jump {
  const behind = after[to]! | setOf(to)
  if (has(after[from]!, to)) return { kind: 'ahead', passed: after[from]! & ~behind }
  if (from !== to && !has(before[from]!, to)) return { kind: 'beside' }
  const again = behind & (before[from]! | setOf(from))
  const by = behind & ~(again | after[from]!)
  return by === 0n ? { kind: 'back', again } : { kind: 'shared', by }
}

/** Where a step may lead besides those that need it, and which field says so. */
export function gotosOf(step: object): { field: string; goto: string }[] {
  const fields = step as Record<string, unknown>
  return ['on_error', 'on_reject', 'on_timeout'].flatMap((field) => {
    const next = fields[field]
    return isObject(next) && typeof next['goto'] === 'string' ? [{ field, goto: next['goto'] }] : []
  })
}

export interface Goto {
  from: number
  to: number
}

/** All jumps of a list that lead to a step of it. */
export const gotosWithin = (steps: readonly { id: string | null; fields: object }[]): Goto[] =>
  steps.flatMap(({ fields }, from) =>
    gotosOf(fields).flatMap(({ goto }) => {
      const to = steps.findIndex(({ id }) => id === goto)
      return to < 0 ? [] : [{ from, to }]
    }),
  )

/**
 * What each step can see of its list: all before it and, where a jump leads back over it, all that the step which failed
 * has seen, and that step itself.
 */
export function seenBy(graph: StepGraph, gotos: readonly Goto[]): StepSet[] {
  const seen = [...graph.before]
  const jumps = gotos.flatMap(({ from, to }) => {
    const jump = jumpOf(graph, from, to)
    return jump.kind === 'back' ? [{ from, again: membersOf(jump.again, seen.length), carried: 0n }] : []
  })
  for (let grown = true; grown;) {
    grown = false
    for (const jump of jumps) {
      const carried = seen[jump.from]! | setOf(jump.from)
      if (carried === jump.carried) continue
      jump.carried = carried
      grown = true
      for (const position of jump.again) seen[position]! |= carried
    }
  }
  return seen
}

/** All that may happen because a step has ended, by needs and by jumps. */
export function reachedFrom(graph: StepGraph, gotos: readonly Goto[], start: number): StepSet {
  let reached = graph.after[start]! | setOf(start)
  for (let size = -1n; size !== reached;) {
    size = reached
    for (const { from, to } of gotos) if (has(reached, from)) reached |= graph.after[to]! | setOf(to)
  }
  return reached
}

/**
 * Steps that can never run: one they need always ends the list (a `wall`), and no jump leads past it. Steps that nothing is
 * known of are taken to be able to.
 */
export function unreachable(
  graph: StepGraph,
  gotos: readonly Goto[],
  walls: StepSet,
): { position: number; wall: number }[] {
  const count = graph.needs.length
  const needed = graph.needs.map((needs) => needs.reduce((sum, need) => sum | setOf(need), 0n))
  let runs = 0n
  for (let size = -1n; size !== runs;) {
    size = runs
    let targets = 0n
    let passed = runs & ~walls
    for (const { from, to } of gotos) {
      if (!has(runs, from)) continue
      targets |= setOf(to)
      const jump = jumpOf(graph, from, to)
      if (jump.kind === 'ahead') passed |= jump.passed
    }
    for (const [position, needs] of needed.entries()) {
      if (!has(targets, position) && (needs & ~passed) !== 0n) continue
      runs |= setOf(position)
      passed |= setOf(position) & ~walls
    }
  }
  return Array.from({ length: count }, (_, position) => position)
    .filter((position) => !has(runs, position))
    .map((position) => ({ position, wall: membersOf(graph.before[position]! & walls & runs, count)[0]! }))
}
