import type { Generated } from 'kysely'

/** What a limit counts over; slots are taken in this order. */
export type SlotScope = 'key' | 'recipe' | 'workspace'

/** A limit that a run is under, and whether it has its slot. */
export interface RunSlotsTable {
  run_id: string
  /** The recipe, the workspace, or what follows from the recipe and the value of the key. */
  counter: string
  workspace_id: string
  scope: SlotScope
  /** How many may hold one. Of a workspace: when it was asked for; what counts is `workspace_limits`. */
  size: number
  /** For people; cut where it is long. */
  key: string | null
  /** `over`: the run has ended. */
  state: Generated<'wanted' | 'held' | 'over'>
}

/** Runs that are no work yet, beside the queue. */
export interface HeldRunsTable {
  run_id: string
  workspace_id: string
  reason: 'slot' | 'debounce' | 'throttle' | 'paused'
  /** The counter whose slot it waits for, or what it is debounced or throttled with. */
  line: string | null
  priority: Generated<number>
  /** Since when it is ready, or of a debounce: when the first trigger came. */
  since: Generated<Date>
  /** When it goes to the queue whatever else holds. */
  until: Date | null
}

/** Notes of slots that have become free. */
export interface FreedSlotsTable {
  id: Generated<string>
  counter: string
}

/** Limits under which more runs have to end for one (cancel_previous) than its trigger could cancel. */
export interface CrowdedSlotsTable {
  counter: string
  /** Those older than this one end, but for as many as may stay beside it. */
  run_id: string
  size: number
}

export interface WorkspaceLimitsTable {
  workspace_id: string
  /** Runs at a time. */
  runs: number
}

export interface ThrottleLinesTable {
  line: string
  workspace_id: string
  /** The last places that were given, as many as the limit, the earliest first. */
  starts: Date[]
  /** From then on none of them matters. */
  until: Date
}

/** Idempotency keys of triggers that another trigger's run has taken in. */
export interface JoinedTriggersTable {
  workspace_id: string
  idempotency_key: string
  request_hash: string
  run_id: string
}
