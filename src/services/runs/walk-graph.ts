import type { Json, JsonObject } from '../../lib/json.ts'
import type { Step } from '../recipes/definition.ts'
import { has, jumpOf, membersOf, setOf, type StepGraph, type StepSet } from '../recipes/graph.ts'
import { errorView, type StepResult } from './attempts.ts'
import { notYetRun, type Flow, type Frame } from './flow.ts'
import { ItemAborted } from './interruptions.ts'
import { hasEnded } from './records.ts'
import { afterFailure, jumpLimit, maxJumps, skip, viewOf, walkStep, type ListResult } from './walk.ts'

type Views = { [id: string]: JsonObject }

/** Goes through a list whose steps say what they need: each starts when all it needs have ended, beside whatever else runs. */
export const walkGraph = (
  flow: Flow,
  steps: readonly Step[],
  graph: StepGraph,
  prefix: string,
  frame: Frame,
): Promise<ListResult> => new GraphWalk(flow, steps, graph, prefix, frame).run()

class GraphWalk {
  readonly #flow: Flow
  readonly #steps: readonly Step[]
  readonly #graph: StepGraph
  readonly #prefix: string
  readonly #frame: Frame
  readonly #signal: AbortSignal
  /** Ends what is under way beside a step that has failed. */
  readonly #failing = new AbortController()
  /** Under way or ended. */
  #begun: StepSet = 0n
  /** Ended, in a way that lets those go on that need it. */
  #ended: StepSet = 0n
  /** To be skipped when their turn comes. */
  #passed: StepSet = 0n
  readonly #visits: number[]
  /** What each step that has ended shows: itself, and what its branches hold. */
  readonly #shown: Views[]
  /** What a jump back has left for each step that it does again. */
  readonly #carried: Views[]
  readonly #outputs: ({ value: Json } | undefined)[]
  #jumps = 0
  #parked = false
  #failure: { error: JsonObject; path: string } | null = null

  constructor(flow: Flow, steps: readonly Step[], graph: StepGraph, prefix: string, frame: Frame) {
    this.#flow = flow
    this.#steps = steps
    this.#graph = graph
    this.#prefix = prefix
    this.#frame = frame
    this.#signal = AbortSignal.any([frame.signal, this.#failing.signal])
    this.#visits = steps.map(() => 0)
    this.#shown = steps.map(() => ({}))
    this.#carried = steps.map(() => ({}))
    this.#outputs = steps.map(() => undefined)
  }

  async run(): Promise<ListResult> {
    await this.#passStored()
    await this.#goOn()
    // Nothing is under way any more, so what is shown is what is stored, however often the run comes by here.
    Object.assign(this.#frame.steps, ...this.#shown)
    if (this.#failure) {
      this.#flow.closeOpenSteps('canceled', this.#prefix)
      return { kind: 'failed', ...this.#failure }
    }
    if (this.#parked) return { kind: 'parked' }
    return { kind: 'done', output: this.#outputs.findLast((output) => output !== undefined)?.value ?? null }
  }

  /** First all that is stored, which starts nothing: in a list that has failed nothing may start. */
  async #passStored(): Promise<void> {
    for (;;) {
      const next = this.#nextReady((position) => this.#isStored(position))
      if (next === undefined) return
      this.#begun |= setOf(next)
      if (has(this.#passed, next)) this.#pass(next)
      else await this.#enter(next)
    }
  }

  /** Starts what has become ready, in the place of the caller. What several steps lead to is started by the last of them. */
  async #goOn(): Promise<void> {
    const started: number[] = []
    while (!this.#failure && !this.#parked) {
      const next = this.#nextReady()
      if (next === undefined) break
      this.#begun |= setOf(next)
      if (has(this.#passed, next)) this.#pass(next)
      else started.push(next)
    }
    await this.#flow.resting.sideBySide(
      started.map((position) => async () => {
        await this.#enter(position)
        await this.#goOn()
      }),
    )
  }

  #nextReady(isWanted: (position: number) => boolean = () => true): number | undefined {
    const position = this.#graph.needs.findIndex(
      (needs, at) => !has(this.#begun, at) && needs.every((need) => has(this.#ended, need)) && isWanted(at),
    )
    return position < 0 ? undefined : position
  }

  /** One that was cut off when another failed has not ended by itself. */
  #isStored(position: number): boolean {
    const status = this.#flow.records.get(this.#pathOf(position, this.#visits[position]! + 1))?.status
    return status !== undefined && hasEnded(status) && status !== 'canceled'
  }

  async #enter(position: number): Promise<void> {
    const step = this.#steps[position]!
    const path = this.#visit(position)
    const frame = this.#frameOf(position)
    let result: StepResult
    try {
      result = await walkStep(this.#flow, step, path, frame)
    } catch (interruption) {
      if (this.#failing.signal.aborted && interruption === this.#failing.signal.reason) return
      throw interruption
    }
    if (result.status === 'parked') {
      this.#parked = true
      return
    }
    this.#show(position, frame, viewOf(result))
    if (result.status === 'succeeded') this.#outputs[position] = { value: result.output }
    if (result.status === 'failed') this.#afterFailure(position, path, frame, result.error)
    else this.#ended |= setOf(position)
  }

  #afterFailure(position: number, path: string, frame: Frame, error: JsonObject): void {
    const step = this.#steps[position]!
    const next = afterFailure(step, String(error['kind']))
    if (next === 'continue') this.#ended |= setOf(position)
    else if (next === 'fail') this.#fail(error, path)
    else if (++this.#jumps > maxJumps) this.#fail(errorView(jumpLimit(), 1), path)
    else this.#jump(position, next.goto, frame)
  }

  #fail(error: JsonObject, path: string): void {
    this.#failure ??= { error, path }
    this.#failing.abort(new ItemAborted())
  }

  #jump(position: number, goto: string, frame: Frame): void {
    const target = this.#steps.findIndex(({ id }) => id === goto)
    const jump = jumpOf(this.#graph, position, target)
    if (jump.kind === 'back') {
      this.#begun &= ~jump.again
      this.#ended &= ~jump.again
      this.#passed &= ~jump.again
      for (const each of membersOf(jump.again, this.#steps.length)) {
        this.#carried[each] = frame.steps
        this.#outputs[each] = undefined
      }
    } else if (jump.kind === 'ahead') {
      this.#ended |= setOf(position)
      this.#passed |= jump.passed
    } else throw new Error('A jump of a list that was checked leads beside it.')
  }

  #pass(position: number): void {
    this.#ended |= setOf(position)
    const frame = this.#frameOf(position)
    skip(this.#flow, this.#steps[position]!, this.#visit(position), frame)
    this.#show(position, frame, viewOf({ status: 'skipped' }))
  }

  /** Only what a step has waited for can be seen: what happens to have ended beside it differs with every resume. */
  #frameOf(position: number): Frame {
    const before = membersOf(this.#graph.before[position]!, this.#steps.length).map((each) => this.#shown[each])
    const steps: Views = Object.assign({}, this.#frame.steps, this.#carried[position], ...before)
    return { ...this.#frame, steps, signal: this.#signal }
  }

  #show(position: number, frame: Frame, view: JsonObject): void {
    const step = this.#steps[position]!
    frame.steps[step.id] = view
    this.#shown[position] = Object.fromEntries(
      Object.keys(notYetRun([step])).map((id) => [id, frame.steps[id]!] as const),
    )
  }

  #visit(position: number): string {
    return this.#pathOf(position, ++this.#visits[position]!)
  }

  #pathOf(position: number, visit: number): string {
    const { id } = this.#steps[position]!
    return visit === 1 ? this.#prefix + id : `${this.#prefix}${id}~${visit}`
  }
}
