import type { Kysely } from 'kysely'
import type { ServiceContext } from '../../src/context.ts'
import type { Database } from '../../src/db/database.ts'
import { scopedTo } from '../../src/db/scope.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { answerOnce } from '../../src/services/idempotency/answer-once.ts'
import { forgetKeys } from '../../src/services/idempotency/expire.ts'
import {
  executionStats,
  findStuck,
  getExecution,
  listExecutions,
  listExecutionSteps,
} from '../../src/services/executions.service.ts'
import { expireLedger } from '../../src/services/retention/expire-ledger.ts'
import { expireRuns } from '../../src/services/retention/expire-runs.ts'
import { writeCheckpoints, type Checkpoint } from '../../src/services/runs/checkpoint.ts'
import { tellParents } from '../../src/services/runs/child-ends.ts'
import { cancelOrphans } from '../../src/services/runs/children.ts'
import {
  claimRuns,
  nextWakeInMs,
  recoverRuns,
  renewLeases,
  wakeDueRuns,
  type ClaimedRun,
} from '../../src/services/runs/claim.ts'
import { insertRuns } from '../../src/services/runs/create-run.ts'
import { Engine } from '../../src/services/runs/engine.ts'
import { followRun } from '../../src/services/runs/event-hub.ts'
import { findByKey } from '../../src/services/runs/start-run.ts'
import type { StepContext, StepExecutors } from '../../src/services/runs/step-executor.ts'
import { selectDue } from '../../src/services/schedules/due-pass.ts'
import { schedulesTick } from '../../src/services/schedules/tick.ts'
import { listLedger } from '../../src/services/schedules/workspace-ledger.ts'
import { runtimeOn } from '../database.ts'
import type { Filled } from './fill.ts'

/** A call of the product's own code, and which of the statements that it sends is meant. */
export interface Case {
  group: string
  name: string
  call: () => Promise<unknown>
  /** What the statement has that others of the same call have not. */
  sends?: string
  /** Why it looks at more rows than it answers. */
  because?: string | undefined
}

const steps = (ids: readonly string[]): Checkpoint['steps'] =>
  ids.map((id, ordinal) => ({
    path: id,
    parent: '',
    ordinal,
    step_id: id,
    kind: 'http',
    status: 'succeeded',
    attempts: 1,
    output: { ok: true },
    error: null,
    state: null,
    delay_ms: null,
    wake_at: null,
    started_ms_ago: 5,
    finished_ms_ago: 1,
  }))

function checkpointOf(run: ClaimedRun, rev: number, leaving: Checkpoint['leaving']): Checkpoint {
  return {
    id: uuidv7(),
    runId: run.id,
    fence: run.fence,
    rev: run.rev + rev,
    steps: steps(['a']),
    calls: [{ key: '1/a/0.0', kind: 'http', request_hash: null, result: { ok: true } }],
    events: [{ type: 'step.succeeded', data: { path: 'a' }, ms_ago: 1 }],
    usage: [],
    totals: null,
    leaving,
    waits: [],
    applied: [],
    progress: true,
  }
}

const twoFilters =
  'Of two filters an index serves one. What it finds is passed over until a page meets the other; on small tables PostgreSQL rather crosses two indexes.'
const eachSchedule =
  'Each schedule of the recipe gives a page of its newest; where schedules have few slots on average, PostgreSQL reads all of one.'
const eachWorkspace =
  'Every workspace may keep its rows for as long as it likes, so each is asked by its index for what is over.'
const wholeWindow = 'Every execution of the window is counted.'

/** In an order in which each finds what it needs: what one claims, the next renews and ends. */
export function hotStatements(db: Kysely<Database>, filled: Filled): Case[] {
  const runtime = runtimeOn(db)
  const config = {
    retentionExecutionsDays: 90,
    retentionScheduleSlotsDays: 90,
    retentionWebhookLogsDays: 30,
    retentionFilesDays: 0,
  }
  const contextOf = (workspaceId: string) =>
    // As much of a context as these services touch.
    ({
      ...runtime,
      db: scopedTo(db, workspaceId),
      config,
      actor: { workspaceId, kind: 'key', permissions: new Set(['executions:read']) },
    }) as unknown as ServiceContext
  const ctx = contextOf(filled.workspace)
  /** What no request does. */
  const background = { ...ctx, db }
  const quiet = contextOf(filled.quietWorkspace)
  const { recipe, rareRecipe, schedule, rareSchedule } = filled
  let claimed: ClaimedRun[] = []
  const held = () => claimed.map(({ id, fence }) => ({ runId: id, fence }))
  const list = (name: string, query: object, of = ctx, because?: string): Case => ({
    group: 'Lists',
    name: `executions, ${name}`,
    call: () => listExecutions(of, { limit: 50, ...query }),
    sends: '"created_at" desc',
    because,
  })
  const ledger = (name: string, query: object, because?: string): Case => ({
    group: 'Lists',
    name: `slots, ${name}`,
    call: () => listLedger(ctx, { limit: 50, ...query }),
    sends: 'from schedule_slots p',
    because,
  })

  return [
    {
      group: 'Engine',
      name: 'claim of 10',
      call: async () => (claimed = (await claimRuns(db, 'bench', 10, null)).runs),
      because: 'Workspaces take turns: the first 64 that have something ready are found, and each gives its share.',
    },
    { group: 'Engine', name: 'renewal of 10 leases', call: () => renewLeases(db, held()) },
    {
      group: 'Engine',
      name: 'checkpoint of 10 runs that go on',
      call: () =>
        writeCheckpoints(
          db,
          claimed.map((run) => checkpointOf(run, 0, null)),
        ),
    },
    {
      group: 'Engine',
      name: 'checkpoint of 10 runs that end',
      call: () =>
        writeCheckpoints(
          db,
          claimed.map((run) => checkpointOf(run, 1, { state: 'succeeded', output: { ok: true }, error: null })),
        ),
    },
    {
      group: 'Engine',
      name: 'look into the inboxes of 10 runs',
      call: () => withEngine(background, (engine) => engine.pollInbox()),
      sends: '"pending_commands" >',
    },
    { group: 'Engine', name: '`previous`', call: () => withEngine(background, async () => {}), sends: 'state_key is' },
    { group: 'Engine', name: 'start of a run', call: () => insertRuns(db, [newRun(filled)]) },
    { group: 'Engine', name: 'wake what is due', call: () => wakeDueRuns(db, 500) },
    { group: 'Engine', name: 'when the next is due', call: () => nextWakeInMs(db) },
    { group: 'Engine', name: 'recovery of lost leases', call: () => recoverRuns(db, 500) },
    {
      group: 'Engine',
      name: 'children whose parents have ended',
      call: () => cancelOrphans(runtime, 1),
      sends: 'order by c.id',
    },
    { group: 'Engine', name: 'parents to be told', call: () => tellParents(runtime, { limit: 200 }) },
    { group: 'Engine', name: 'key of an execution', call: () => findByKey(ctx, 'key-none', 'x') },
    {
      group: 'Engine',
      name: 'key of an answer',
      call: () =>
        answerOnce(ctx, { operation: 'bench', key: uuidv7(), content: {}, sealed: false }, () => ({
          status: 200,
          headers: {},
          body: '',
        })),
      sends: 'insert into idempotency_keys',
    },
    { group: 'Schedules', name: 'what is due', call: () => selectDue(500).execute(db) },
    { group: 'Schedules', name: 'a tick that finds something', call: () => schedulesTick(runtime) },
    { group: 'Schedules', name: 'a tick that finds nothing', call: () => schedulesTick(runtime) },

    list('all', {}),
    list('all of a quiet workspace', {}, quiet),
    list('succeeded', { status: 'succeeded' }),
    list('failed', { status: 'failed' }),
    list('timed out, in a quiet workspace', { status: 'timed_out' }, quiet),
    list('queued', { status: 'queued' }),
    list('running', { status: 'running' }),
    list('waiting', { status: 'waiting' }),
    list('blocked: there are none', { status: 'blocked' }),
    list('of a recipe', { recipe }),
    list('of a rare recipe', { recipe: rareRecipe }),
    list('failed of a recipe', { recipe, status: 'failed' }, ctx, twoFilters),
    list('running of a rare recipe', { recipe: rareRecipe, status: 'running' }),
    list('of a schedule', { scheduleId: schedule }),
    list('of a schedule with none', { scheduleId: rareSchedule }),
    list('failed of a schedule', { scheduleId: schedule, status: 'failed' }, ctx, twoFilters),
    ledger('all', {}),
    ledger('missed', { states: ['missed'] }),
    ledger('of a schedule', { schedule_id: schedule }),
    ledger('of a recipe', { recipe_id: recipe }, eachSchedule),
    ledger('of a rare recipe', { recipe_id: rareRecipe }),
    ledger('from a time on', { from: new Date(Date.now() - 3_600_000).toISOString() }),

    { group: 'One execution', name: 'with its steps', call: () => getExecution(ctx, filled.run) },
    {
      group: 'One execution',
      name: 'its steps by pages',
      call: () => listExecutionSteps(ctx, { id: filled.run, limit: 50 }),
      sends: '"run_steps"',
    },
    { group: 'One execution', name: 'its events', call: () => firstEvent(ctx, filled.run) },

    {
      group: 'Figures',
      name: 'statistics of an hour',
      call: () => executionStats(ctx, { from: new Date(Date.now() - 3_600_000).toISOString() }),
      because: wholeWindow,
    },
    {
      group: 'Figures',
      name: 'statistics of an hour of a recipe',
      call: () => executionStats(ctx, { from: new Date(Date.now() - 3_600_000).toISOString(), recipe }),
      sends: 'from runs',
      because: wholeWindow,
    },
    {
      group: 'Figures',
      name: 'what is stuck',
      call: () => findStuck(ctx, { days: 7 }),
      because: 'Everything in the workspace that has not ended is looked at.',
    },

    { group: 'Retention', name: 'a pass over executions', call: () => expireRuns(background), because: eachWorkspace },
    {
      group: 'Retention',
      name: 'a pass over the ledger',
      call: () => expireLedger(background),
      because: eachWorkspace,
    },
    { group: 'Retention', name: 'a pass over keys', call: () => forgetKeys(background) },
  ]
}

const newRun = ({ workspace, recipe }: Filled) => ({
  id: uuidv7(),
  workspaceId: workspace,
  recipeId: recipe,
  recipeVersion: 1,
  trigger: { kind: 'api' },
  input: {},
})

/** An engine that holds ten runs, each in the middle of its first step. */
async function withEngine(ctx: ServiceContext, use: (engine: Engine) => Promise<unknown>): Promise<void> {
  let arrived = () => {}
  const inFlight = new Promise<void>((resolve) => (arrived = resolve))
  let begun = 0
  let letGo = () => {}
  const over = new Promise<void>((resolve) => (letGo = resolve))
  const executors = {
    http: async (_step: never, _context: StepContext) => {
      if (++begun === 10) arrived()
      await over
      return null
    },
  } satisfies StepExecutors
  const engine = new Engine(ctx, { owner: 'bench', concurrency: 10, executors })
  const claimed = await engine.claim()
  if (claimed < 10) throw new Error(`Only ${claimed} runs could be claimed: the queue is too short for this.`)
  // Whoever is idle has nothing in flight and never will.
  await Promise.race([inFlight, engine.idle().then(() => Promise.reject(new Error('The runs have ended.')))])
  await use(engine)
  letGo()
  engine.stopStarting()
  await engine.idle()
}

async function firstEvent(ctx: ServiceContext, run: string): Promise<void> {
  const over = new AbortController()
  for await (const _event of followRun(ctx, run, 0, over.signal)) over.abort()
}
