/**
 * What a recipe comes to, worked out the plain way: one step after the other, in memory, each as soon as all it needs have
 * ended. It shares nothing with the engine but the recipe, and knows only what random recipes are made of.
 */

export interface ReferenceStep {
  id: string
  kind: string
  needs?: string[]
  /** `true`, `false`, or `steps.<id>.status == "succeeded"`. */
  when?: string
  on_error?: 'fail' | 'continue' | { goto: string }
  retry?: { max_attempts: number }
  /** Of a transform: the statuses that it sees. */
  value?: { $expr: string }[]
  cases?: { when: string; steps: ReferenceStep[] }[]
  default?: ReferenceStep[]
  items?: unknown[]
  on_item_error?: 'collect' | 'fail_fast'
  steps?: ReferenceStep[]
}

/** Which is not settled by the recipe: what is cut off beside a failure depends on which came first. */
export const anything = Symbol('anything')

export interface ReferenceRow {
  status: string
  output: unknown
  /** In a list that fails, where steps run side by side: the row may be `canceled` as well, or absent. */
  loose: boolean
}

export interface ReferenceResult {
  state: 'succeeded' | 'failed'
  output: unknown
  rows: Map<string, ReferenceRow>
  /** Paths one of which is the run's error. */
  failures: string[]
}

type Views = Record<string, unknown>
interface ListResult {
  output: unknown
  failures: string[]
  shown: Views
}

/** `fails` says whether an attempt of a step's effect fails. */
export function interpret(
  steps: ReferenceStep[],
  fails: (id: string, visit: number, attempt: number) => boolean,
): ReferenceResult {
  const rows = new Map<string, ReferenceRow>()

  /** `around` shows the list's own steps too: as pending, or in a branch that is done again as they were. */
  function list(own: ReferenceStep[], prefix: string, around: Views): ListResult {
    const needs = needsOf(own)
    const shown = new Map<string, Views>()
    const carried = new Map<string, Views>()
    const visits = new Map<string, number>()
    const outputs = new Map<string, unknown>()
    const begun = new Set<string>()
    const ended = new Set<string>()
    const passed = new Set<string>()
    const failures: string[] = []
    let last: unknown = null

    const seenBy = (id: string): Views =>
      Object.assign({}, around, carried.get(id), ...[...before(needs, id)].map((each) => shown.get(each)))
    const visit = (id: string) => {
      begun.add(id)
      visits.set(id, (visits.get(id) ?? 0) + 1)
      return visits.get(id) === 1 ? prefix + id : `${prefix}${id}~${visits.get(id)}`
    }
    const end = (step: ReferenceStep, views: Views, status: string) => {
      views[step.id] = status
      shown.set(step.id, pick(views, exposed(step)))
    }
    for (;;) {
      const step = own.find(({ id }) => !begun.has(id) && needs.get(id)!.every((need) => ended.has(need)))
      if (!step) break
      const path = visit(step.id)
      const views = seenBy(step.id)
      if (passed.has(step.id)) {
        rows.set(path, { status: 'skipped', output: null, loose: false })
        end(step, views, 'skipped')
        ended.add(step.id)
        continue
      }
      const result = one(step, path, visits.get(step.id)!, views)
      rows.set(path, { status: result.status, output: result.output ?? null, loose: false })
      end(step, views, result.status)
      if (result.status === 'succeeded') {
        last = result.output
        outputs.set(step.id, result.output)
      }
      const next = result.status === 'failed' ? (step.on_error ?? 'fail') : 'continue'
      if (next === 'continue') ended.add(step.id)
      else if (next === 'fail') failures.push(path)
      else if (leadsAhead(needs, step.id, next.goto)) {
        ended.add(step.id)
        for (const id of passedOver(needs, step.id, next.goto)) passed.add(id)
      } else {
        for (const id of doneAgain(needs, step.id, next.goto)) {
          carried.set(id, { ...views })
          begun.delete(id)
          ended.delete(id)
          passed.delete(id)
          outputs.delete(id)
        }
      }
    }

    const isGraph = own.some((step) => step.needs !== undefined)
    const all: Views = Object.assign(pick(around, own.flatMap(exposed)), ...shown.values())
    if (isGraph)
      last = own.findLast(({ id }) => outputs.has(id))
        ? outputs.get(own.findLast(({ id }) => outputs.has(id))!.id)
        : null
    if (isGraph && failures.length > 0) {
      for (const [path, row] of rows) if (path.startsWith(prefix)) row.loose = true
      for (const id of Object.keys(all)) all[id] = anything
    }
    return { output: last, failures, shown: all }
  }

  function one(step: ReferenceStep, path: string, visit: number, views: Views): { status: string; output?: unknown } {
    if (step.when !== undefined && !holds(step.when, views)) return { status: 'skipped' }
    switch (step.kind) {
      case 'http': {
        const most = step.retry?.max_attempts ?? 1
        for (let attempt = 1; attempt <= most; attempt++)
          if (!fails(step.id, visit, attempt)) return { status: 'succeeded', output: { path, attempt } }
        return { status: 'failed' }
      }
      case 'transform':
        return {
          status: 'succeeded',
          output: step.value!.map(({ $expr }) => views[/^steps\.(\w+)\.status$/.exec($expr)![1]!]),
        }
      case 'wait':
        return { status: 'succeeded', output: null }
      case 'fail':
        return { status: 'failed' }
      case 'branch': {
        const lists = step.cases!.map((each, index) => [String(index), each.steps] as const)
        if (step.default) lists.push(['default', step.default])
        const index = step.cases!.findIndex((each) => holds(each.when, views))
        const choice = index >= 0 ? String(index) : 'default'
        for (const [name, inner] of lists)
          if (name !== choice) for (const id of inner.flatMap(exposed)) views[id] = 'skipped'
        const taken = lists.find(([name]) => name === choice)
        if (!taken) return { status: 'succeeded', output: null }
        const result = list(taken[1], `${path}/${choice}/`, views)
        Object.assign(views, result.shown)
        return result.failures.length > 0 ? { status: 'failed' } : { status: 'succeeded', output: result.output }
      }
      default: {
        const outputs: unknown[] = []
        for (const index of step.items!.keys()) {
          const result = list(step.steps!, `${path}/${index}/`, { ...views, ...pending(step.steps!) })
          const failed = result.failures.length > 0
          const output = failed ? null : result.output
          rows.set(`${path}/${index}`, { status: failed ? 'failed' : 'succeeded', output, loose: false })
          if (failed && step.on_item_error === 'fail_fast') return { status: 'failed' }
          outputs.push(output)
        }
        return { status: 'succeeded', output: outputs }
      }
    }
  }

  const { output, failures } = list(steps, '', pending(steps))
  const state = failures.length > 0 ? 'failed' : 'succeeded'
  return { state, output: state === 'failed' ? null : output, rows, failures }
}

type Needs = Map<string, string[]>

export const needsOf = (steps: ReferenceStep[]): Needs =>
  new Map(steps.map(({ id, needs }, index) => [id, needs ?? (index > 0 ? [steps[index - 1]!.id] : [])]))

/** All that have ended when a step starts. */
export function before(needs: Needs, id: string): Set<string> {
  const found = new Set<string>()
  const pending = [...needs.get(id)!]
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (!found.has(next)) pending.push(...needs.get(next)!)
    found.add(next)
  }
  return found
}

const follows = (needs: Needs, id: string, earlier: string) => before(needs, id).has(earlier)
const leadsAhead = (needs: Needs, from: string, to: string) => follows(needs, to, from)
const passedOver = (needs: Needs, from: string, to: string) =>
  [...needs.keys()].filter((id) => follows(needs, id, from) && id !== to && !follows(needs, id, to))
const doneAgain = (needs: Needs, from: string, to: string) =>
  [...needs.keys()].filter((id) => (id === to || follows(needs, id, to)) && (id === from || follows(needs, from, id)))

/** Whether a step may jump to another: ahead to one that follows it, or back where nobody beside it has built on what is done again. */
export function mayJump(needs: Needs, from: string, to: string): boolean {
  if (leadsAhead(needs, from, to)) return true
  if (from !== to && !follows(needs, from, to)) return false
  return [...needs.keys()].every(
    (id) => !follows(needs, id, to) || id === from || follows(needs, from, id) || follows(needs, id, from),
  )
}

/** Ids that a step shows to those that follow it. */
export function exposed(step: ReferenceStep): string[] {
  if (step.kind !== 'branch') return [step.id]
  return [step.id, ...[...step.cases!.flatMap((each) => each.steps), ...(step.default ?? [])].flatMap(exposed)]
}

const pending = (steps: ReferenceStep[]): Views =>
  Object.fromEntries(steps.flatMap(exposed).map((id) => [id, 'pending']))

const pick = (views: Views, ids: string[]): Views => Object.fromEntries(ids.map((id) => [id, views[id]]))

function holds(condition: string, views: Views): boolean {
  const id = /^steps\.(\w+)\.status == "succeeded"$/.exec(condition)?.[1]
  return id === undefined ? condition === 'true' : views[id] === 'succeeded'
}
