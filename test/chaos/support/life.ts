import { sql, type Kysely } from 'kysely'
import type { App } from '../../../src/app.ts'
import type { Runtime } from '../../../src/context.ts'
import type { Database } from '../../../src/db/database.ts'
import { childEndsService } from '../../../src/services/runs/child-ends.ts'
import { engineOf, recoveryService, runsService } from '../../../src/services/runs/index.ts'
import { isEnd } from '../../../src/services/runs/states.ts'
import { moveClock } from './clock.ts'

/** One process of an installation, without timers: what it does, it does in one order. */
export interface Lived {
  app: App
  runtime: Runtime
  adminKey: string
  /** Looks at the rows and moves the clock. Beside the process's own line, so that nothing of it counts as a boundary. */
  eye: Kysely<Database>
}

/** Where a process dies; `at` counts its statements or its effects from one. */
export interface Death {
  kind: 'before' | 'after' | 'answered'
  at: number
}
export interface Lifetime {
  /** The settings of its installation. */
  env: Record<string, string>
  recipe: string
  /** The Idempotency-Key of its run. */
  key: string
  death: Death | null
}

/** A statement of a process, and whether anything had happened since the one before it: an effect, or another under way. */
export interface Sent {
  text: string
  isApart: boolean
}

/** What the connections of a process that is to die call themselves. */
export const deathName = 'automatos-doomed'

const mostTurns = 40

/**
 * The whole life of a run as its client and its server bring it about: it is started, advanced, decided on, told of by a
 * signal, and woken when its time has come. Every request may be a repeat of one that was answered to nobody.
 */
export async function live(process: Lived, recipe: string, key: string, afterDeath = false): Promise<string> {
  const { runtime, eye } = process
  const { id } = await post(process, `/api/workflow-recipes/${recipe}/execute`, { items: ['a', 'b', 'c'] }, key)
  for (let turn = 0; turn < mostTurns; turn++) {
    if (afterDeath) {
      await recoveryService.tick(runtime)
      await childEndsService.tick(runtime)
    }
    await runsService.tick(runtime)
    await engineOf(runtime).idle()
    const family = await familyOf(eye, id)
    if (family.every((run) => isEnd(run.state))) return id
    if (family.some((run) => run.ready)) continue
    if (!(await actFor(process, family))) await sleepThrough(eye)
  }
  throw new Error(`The run ${id} did not come to its end: ${JSON.stringify(await familyOf(eye, id))}`)
}

/** Decides and signals whatever the runs wait for. False: they wait for time to pass. */
async function actFor(process: Lived, family: { id: string }[]): Promise<boolean> {
  const ids = family.map((run) => run.id)
  const asked = await process.eye
    .selectFrom('approvals')
    .select('id')
    .where('run_id', 'in', ids)
    .where('state', '=', 'pending')
    .execute()
  for (const { id } of asked) await post(process, `/api/approvals/${id}/decide`, { decision: 'approved' })
  const waits = await process.eye
    .selectFrom('event_waits')
    .select(['run_id', 'name'])
    .where('run_id', 'in', ids)
    .where('state', '=', 'open')
    .execute()
  for (const { run_id, name } of waits)
    await post(process, `/api/executions/${run_id}/signals`, { name, payload: 'come' }, `signal-${run_id}`)
  return asked.length + waits.length > 0
}

async function familyOf(eye: Kysely<Database>, id: string) {
  return eye
    .selectFrom('runs')
    .leftJoin('run_queue', 'run_queue.run_id', 'runs.id')
    .select(['runs.id', 'runs.state', sql<boolean>`run_queue.run_id is not null`.as('ready')])
    .where((eb) => eb.or([eb('runs.id', '=', id), eb('runs.parent_run_id', '=', id)]))
    .execute()
}

/** Moves the database's clock to where the first parked run is due. */
async function sleepThrough(eye: Kysely<Database>): Promise<void> {
  const { rows } = await sql<{ seconds: number | null }>`
    select extract(epoch from min(wake_at) - app_now())::double precision as seconds from waits`.execute(eye)
  await moveClock(eye, Math.max(0, rows[0]?.seconds ?? 0) + 1)
}

async function post(process: Lived, path: string, body: object, key?: string): Promise<{ id: string }> {
  const input = path.endsWith('/execute') ? { input_data: body } : body
  const response = await process.app.request(path, {
    method: 'POST',
    headers: {
      'x-api-key': process.adminKey,
      'content-type': 'application/json',
      ...(key === undefined ? {} : { 'idempotency-key': key }),
    },
    body: JSON.stringify(input),
  })
  const answer = (await response.json()) as { id: string }
  if (!response.ok) throw new Error(`POST ${path} answered ${response.status}: ${JSON.stringify(answer)}`)
  return answer
}
