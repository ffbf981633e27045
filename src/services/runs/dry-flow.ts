import type { Blobs, Runtime } from '../../context.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import type { Checkpoint, EventWrite, StepWrite, UsageWrite } from './checkpoint.ts'
import type { ClaimedRun } from './claim.ts'
import { Flow, type StandIn } from './flow.ts'
import { itemKind } from './records.ts'
import { Resting, type Verdict } from './resting.ts'
import { RunWriter } from './run-writer.ts'
import type { StepExecutors } from './step-executor.ts'

/** A run that is gone through in memory: what it would write is gathered here, and nothing of it is stored. */
export interface DryFlow {
  flow: Flow
  /** The latest of each step, by path. */
  steps: Map<string, StepWrite>
  events: EventWrite[]
  usage: UsageWrite[]
  totals: () => JsonObject
  /** Gathers what is still on its way. */
  settle: () => Promise<void>
}

export type DryRunSource = Pick<ClaimedRun, 'id' | 'workspace_id' | 'definition' | 'input' | 'started_at'> &
  Partial<ClaimedRun>

/** Nothing is slept through: what would wait is either over at once or ends the walk. */
class DryResting extends Resting {
  readonly #verdict: Verdict
  constructor(clock: Runtime['clock'], verdict: Verdict) {
    super(clock)
    this.#verdict = verdict
  }
  override async rest(_path: string, _ms: number, _wakeAt: string | null, signal: AbortSignal): Promise<Verdict> {
    signal.throwIfAborted()
    return this.#verdict
  }
}

export function openDryFlow(
  runtime: Runtime,
  source: DryRunSource,
  options: {
    executors: StepExecutors
    previous?: Json
    standIn?: StandIn
    whenResting: Verdict
    /** Items that its loops take together. */
    maxItems?: number
  },
): DryFlow {
  const steps = new Map<string, StepWrite>()
  const events: EventWrite[] = []
  const usage: UsageWrite[] = []
  let totals: JsonObject = {}
  let room = options.maxItems ?? Number.POSITIVE_INFINITY
  const gather = (checkpoint: Checkpoint) => {
    for (const step of checkpoint.steps) steps.set(step.path, step)
    events.push(...checkpoint.events)
    usage.push(...checkpoint.usage)
    totals = checkpoint.totals ?? totals
  }
  const run: ClaimedRun = {
    recipe_id: null,
    recipe_version: null,
    trigger: {},
    schedule_id: null,
    slot_at: null,
    state_key: null,
    rev: 0,
    fence: 1,
    generation: 1,
    recoveries: 0,
    pending_commands: 0,
    usage: {},
    created_by: null,
    deadline_at: null,
    trace_context: null,
    now: source.started_at,
    first: true,
    slotted: false,
    ...source,
  }
  const writer = new RunWriter(run, {
    clock: runtime.clock,
    sentMs: runtime.clock.monotonicMs(),
    requestFlush: (each) => {
      const checkpoint = each.take()
      if (!checkpoint) return
      gather(checkpoint)
      each.settle({ state: 'running', pendingCommands: 0 })
    },
    requestLazyFlush: () => {},
    onLost: () => {},
    onRefused: () => {},
    onCommands: () => {},
    onEvents: () => {},
  })
  const flow = new Flow(
    run,
    new Map(),
    writer,
    {
      runtime: unseen(runtime),
      executors: options.executors,
      renew: async () => true,
      dry: true,
      previous: options.previous ?? null,
      ...(options.standIn && { standIn: options.standIn }),
      itemOutputs: (path) => outputsOf(steps, path),
      itemsTaken: (count) => {
        const taken = Math.min(count, room)
        room -= taken
        return taken
      },
    },
    runtime.clock.monotonicMs(),
    Number.POSITIVE_INFINITY,
  )
  flow.resting = new DryResting(runtime.clock, options.whenResting)
  return { flow, steps, events, usage, totals: () => totals, settle: () => writer.commit() }
}

/** Large values stay in memory, and neither metrics nor traces take it for a run. */
function unseen(runtime: Runtime): Runtime {
  const dry: Runtime = { ...runtime, blobs: overlaid(runtime.blobs) }
  delete dry.measures
  delete dry.tracing
  delete dry.trace
  return dry
}

function overlaid(blobs: Blobs): Blobs {
  const own = new Map<string, Uint8Array>()
  return {
    // Files are what a step leaves behind outside, as its other effects are.
    put: async (key, bytes, options) =>
      key.startsWith('runs/') ? void own.set(key, bytes) : blobs.put(key, bytes, options),
    get: async (key) => own.get(key) ?? blobs.get(key),
    delete: async (key) => void own.delete(key),
  }
}

function outputsOf(steps: ReadonlyMap<string, StepWrite>, foreachPath: string): Json[] {
  const items = [...steps.values()].filter(
    ({ kind, path }) => kind === itemKind && path.slice(0, path.lastIndexOf('/')) === foreachPath,
  )
  return items.toSorted((a, b) => a.ordinal - b.ordinal).map(({ output }) => output)
}
