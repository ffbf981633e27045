import type { RunState } from '../../db/tables/runs.table.ts'

export type EndState = Extract<RunState, 'succeeded' | 'failed' | 'canceled' | 'timed_out'>

export const endStates: readonly EndState[] = ['succeeded', 'failed', 'canceled', 'timed_out']

/** States that nothing leaves, but for the retry of a failed run. */
export const isEnd = (state: RunState): state is EndState => (endStates as readonly RunState[]).includes(state)
