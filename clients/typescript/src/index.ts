export { createAutomatos, type Automatos, type AutomatosOptions } from './automatos.ts'
export { ApiError, UnreachableError } from './errors.ts'
export { readEventStream, type ServerSentEvent } from './event-stream.ts'
export {
  endsExecution,
  followExecution,
  hasEnded,
  waitForExecution,
  type ExecutionEventOf,
  type FollowOptions,
} from './executions.ts'
export { paginate } from './paginate.ts'
export type * from './generated/types.gen.ts'
