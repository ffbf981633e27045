import type { Fault } from '../../../lib/errors.ts'
import { definitionLimits } from '../definition.ts'
import {
  gotosOf,
  gotosWithin,
  graphOf,
  has,
  jumpOf,
  membersOf,
  seenBy,
  setOf,
  unreachable,
  type StepGraph,
  type StepSet,
} from '../graph.ts'
import type { StepList, StepPlace } from './outline.ts'

/** The order of the steps of one list, by their positions in it. */
interface ListOrder {
  ids: ReadonlySet<string | null>
  /** Null where steps wait for each other: then nothing can be said of what comes before what. */
  graph: StepGraph | null
  cycle: number[]
  /** What each step may see of its list. */
  seen: StepSet[]
  /** Steps that can never run, each with the one that always ends the list before it. */
  dead: Map<number, number>
}

const orders = new WeakMap<StepList, ListOrder>()

export function orderOf(list: StepList): ListOrder {
  const known = orders.get(list)
  if (known) return known
  const order = settle(list.steps)
  orders.set(list, order)
  return order
}

function settle(steps: StepPlace[]): ListOrder {
  const ids = new Set(steps.map(({ id }) => id))
  const order = graphOf(steps.map((place) => ({ id: place.id, needs: needsOf(place) })))
  if ('cycle' in order) {
    const all = steps.reduce((sum, _, position) => sum | setOf(position), 0n)
    return { ids, graph: null, cycle: order.cycle, seen: steps.map(() => all), dead: new Map() }
  }
  const { graph } = order
  const gotos = gotosWithin(steps)
  const walls = steps.reduce((sum, place, position) => (isWall(place) ? sum | setOf(position) : sum), 0n)
  const dead = unreachable(graph, gotos, walls).map(({ position, wall }) => [position, wall] as const)
  return { ids, graph, cycle: [], seen: seenBy(graph, gotos), dead: new Map(dead) }
}

const saysNeeds = ({ fields: { needs } }: StepPlace): boolean => Array.isArray(needs)

const needsOf = ({ fields: { needs } }: StepPlace): string[] | undefined =>
  Array.isArray(needs) ? needs.filter((need) => typeof need === 'string') : undefined

/** A step that always ends its list. */
const isWall = ({ kind, fields: { when, on_error: next } }: StepPlace): boolean =>
  kind === 'fail' && when === undefined && (next === undefined || next === 'fail')

/** Faults of a step's place among the others: what it needs, where it jumps to, and whether it can run at all. */
export function orderFaults(place: StepPlace, ids: ReadonlyMap<string, StepPlace>): Fault[] {
  const { list, pointer } = place
  const { dead } = orderOf(list)
  const wall = dead.get(list.steps.indexOf(place))
  const never =
    wall === undefined
      ? []
      : [{ pointer, detail: `can never run: ${list.steps[wall]!.id ?? 'a step before it'} always fails` }]
  return [...needFaults(place, ids), ...cycleFaults(place), ...gotoFaults(place, ids), ...never]
}

function needFaults(place: StepPlace, ids: ReadonlyMap<string, StepPlace>): Fault[] {
  const { needs } = place.fields
  if (!Array.isArray(needs)) return []
  // No list has more steps; each of these would be looked at, and told of.
  if (needs.length > definitionLimits.steps)
    return [{ pointer: `${place.pointer}/needs`, detail: `must have at most ${definitionLimits.steps} items` }]
  const named = new Set<string>()
  return needs.flatMap((need, index) => {
    if (typeof need !== 'string') return []
    const detail = named.has(need) ? `${need} is named already` : faultOfNeighbour(place, need, 'needs', ids)
    named.add(need)
    return detail === null ? [] : [{ pointer: `${place.pointer}/needs/${index}`, detail }]
  })
}

/** Told once, at the first of them that says what it needs. */
function cycleFaults(place: StepPlace): Fault[] {
  const { steps } = place.list
  const cycle = orderOf(place.list).cycle.map((position) => steps[position]!)
  const first = steps.find((each) => cycle.includes(each) && saysNeeds(each))
  if (first !== place) return []
  const start = cycle.indexOf(first)
  const names = [...cycle.slice(start), ...cycle.slice(0, start), first].map(({ id }) => id)
  const detail =
    cycle.length === 1 ? 'must not name the step itself' : `makes steps wait for each other: ${names.join(' needs ')}`
  return [{ pointer: `${place.pointer}/needs`, detail }]
}

function gotoFaults(place: StepPlace, ids: ReadonlyMap<string, StepPlace>): Fault[] {
  return gotosOf(place.fields).flatMap(({ field, goto }) => {
    const detail = faultOfNeighbour(place, goto, 'goto', ids) ?? faultOfJump(place, goto)
    return detail === null ? [] : [{ pointer: `${place.pointer}/${field}/goto`, detail }]
  })
}

function faultOfNeighbour(
  { list }: StepPlace,
  id: string,
  field: 'goto' | 'needs',
  ids: ReadonlyMap<string, StepPlace>,
): string | null {
  if (orderOf(list).ids.has(id)) return null
  return ids.has(id) ? `${id} is in another list of steps; ${field} stays within its own` : `there is no step ${id}`
}

function faultOfJump(place: StepPlace, goto: string): string | null {
  const { steps } = place.list
  const { graph } = orderOf(place.list)
  if (!graph) return null
  const jump = jumpOf(
    graph,
    steps.indexOf(place),
    steps.findIndex(({ id }) => id === goto),
  )
  if (jump.kind === 'beside') return `${goto} neither follows this step nor comes before it`
  if (jump.kind !== 'shared') return null
  const by = steps[membersOf(jump.by, steps.length)[0]!]!.id
  return `${by} follows ${goto} and may run beside this step: what it builds on would be done again`
}

/** Why a step cannot see what another gives. */
export function whyUnseen(place: StepPlace | null, other: StepPlace): string {
  for (let at = place; at; at = at.list.parent) {
    const { graph } = orderOf(at.list)
    if (!graph || !at.list.steps.some(saysNeeds)) continue
    const neighbour = memberAround(other, at.list)
    if (
      !neighbour ||
      neighbour === at ||
      has(graph.after[at.list.steps.indexOf(at)]!, at.list.steps.indexOf(neighbour))
    )
      continue
    return `step ${other.id} need not have ended before this: ${at.id} does not need ${neighbour.id}`
  }
  return `step ${other.id} cannot have run before this`
}

/** The step of a list that is another one, or shows it because it is a branch around it. */
function memberAround(place: StepPlace, list: StepList): StepPlace | null {
  for (let at: StepPlace | null = place; at; at = at.list.parent) {
    if (at.list === list) return at
    if (at.list.parent?.kind !== 'branch') return null
  }
  return null
}
