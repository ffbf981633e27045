import type { RecipeDefinition, Step } from '../recipes/definition.ts'
import { graphOfNeeds, gotosWithin, has, reachedFrom, type StepGraph, type StepSet } from '../recipes/graph.ts'

/** Where a row of a run stands in its definition: a step, or one item of a foreach. */
export interface Located {
  step: Step
  isItem: boolean
}

/** The step that a path such as `each/3/note` or `route~2/default/send` names; null where the definition has none there. */
export function locate(definition: Pick<RecipeDefinition, 'steps'>, path: string): Located | null {
  const names = path.split('/')
  let list: readonly Step[] = definition.steps
  for (let at = 0; ;) {
    const name = withoutVisit(names[at++]!)
    const step = list.find(({ id }) => id === name)
    if (!step) return null
    const below = names[at++]
    if (below === undefined) return { step, isItem: false }
    const inner = listBelow(step, below)
    if (!inner) return null
    if (at === names.length) return step.kind === 'foreach' ? { step, isItem: true } : null
    list = inner
  }
}

/** The list that a prefix such as `each/3/` names; '' is the recipe's own. */
function listAt(definition: Pick<RecipeDefinition, 'steps'>, prefix: string): readonly Step[] | null {
  if (prefix === '') return definition.steps
  const [, around, below] = /^(.*)\/([^/]+)\/$/.exec(prefix) ?? []
  const located = around === undefined ? null : locate(definition, around)
  return located && !located.isItem ? listBelow(located.step, below!) : null
}

/**
 * Whether what happened at one path may have to do with what happened before it at another: not where a list with `needs`
 * has the two side by side.
 */
export function mayFollow(definition: Pick<RecipeDefinition, 'steps'>, earlier: string, later: string): boolean {
  const [a, b] = [earlier.split('/'), later.split('/')]
  const parting = a.findIndex((name, at) => name !== b[at])
  // Steps stand at even places of a path, items and cases at odd ones.
  if (parting < 0 || parting >= b.length || parting % 2 === 1) return true
  const list = listAt(
    definition,
    a
      .slice(0, parting)
      .map((name) => `${name}/`)
      .join(''),
  )
  const graph = list && graphOfNeeds(list)
  if (!graph) return true
  const [from, to] = [a, b].map((path) => {
    const name = withoutVisit(path[parting]!)
    return list.findIndex(({ id }) => id === name)
  })
  if (from! < 0 || to! < 0) return true
  return has(followersOf(list, graph, from!), to!)
}

const followers = new WeakMap<readonly Step[], Map<number, StepSet>>()

/** All that may happen because one step of a list has ended; it is asked of each of thousands of rows. */
function followersOf(list: readonly Step[], graph: StepGraph, start: number): StepSet {
  const known = followers.get(list) ?? new Map<number, StepSet>()
  followers.set(list, known)
  const found = known.get(start)
  if (found !== undefined) return found
  const gotos = gotosWithin(list.map((step) => ({ id: step.id, fields: step })))
  const set = reachedFrom(graph, gotos, start)
  known.set(start, set)
  return set
}

/** `fetch~2` is the second visit of `fetch`. */
export const withoutVisit = (name: string): string => name.replace(/~\d+$/, '')

/** The nearest path above that `has` knows; null at the top. Branches have no row for the case that was taken. */
export function pathAbove(path: string, has: (path: string) => boolean): string | null {
  for (let end = path.lastIndexOf('/'); end > 0; end = path.lastIndexOf('/', end - 1)) {
    const above = path.slice(0, end)
    if (has(above)) return above
  }
  return null
}

function listBelow(step: Step, name: string): readonly Step[] | null {
  if (step.kind === 'foreach') return /^\d+$/.test(name) ? step.steps : null
  if (step.kind !== 'branch') return null
  return (name === 'default' ? step.default : step.cases[Number(name)]?.steps) ?? null
}
