import type { Actor, Runtime, ServiceContext } from '../context.ts'
import { scopedTo } from '../db/scope.ts'

/** The database as an actor has it: what is not of its workspace is not there. */
export const databaseFor = (runtime: Pick<Runtime, 'db'>, actor: Pick<Actor, 'workspaceId'>): Runtime['db'] =>
  scopedTo(runtime.db, actor.workspaceId)

/** What a service may touch on behalf of somebody in a workspace: the only way from a runtime to a context. */
export const actingIn = (runtime: Runtime, actor: Actor, log = runtime.log): ServiceContext => ({
  ...runtime,
  db: databaseFor(runtime, actor),
  log,
  actor,
})
