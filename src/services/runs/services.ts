import type { BackgroundService, Runtime } from '../../context.ts'
import { cancelOrphans } from './children.ts'
import { nextWakeInMs, recoverRuns, wakeDueRuns } from './claim.ts'
import { cancelCrowded } from './concurrency/conflicts.ts'
import { dropEnded, forgetThrottles, nextHeldInMs, sweepPaused, wakeHeldRuns } from './concurrency/held.ts'
import { passSlots, reconcileSlots, type SlotCursor } from './concurrency/slots.ts'
import { Engine } from './engine.ts'
import { answered } from './steadily.ts'

const batch = 500

const engines = new WeakMap<object, Engine>()

/** The engine of this process. A runtime is one process, so it has one. */
export function engineOf(runtime: Runtime): Engine {
  let engine = engines.get(runtime.db)
  if (!engine) {
    engine = new Engine(runtime, { owner: runtime.instance, concurrency: runtime.config.engineConcurrency })
    engines.set(runtime.db, engine)
  }
  return engine
}

/**
 * Ends this process's part in the engine: claims nothing more and lets go of what it holds within the grace. Before the
 * first tick, too: the services go on ticking for a while, and must find an engine that has stopped.
 */
export async function stopEngine(runtime: Runtime, graceMs: number): Promise<void> {
  await engineOf(runtime).drain(graceMs)
}

/** Sets ready runs going. The poll of the queue is the truth; wake-ups only make it sooner. */
export const runsService: BackgroundService = {
  name: 'runs',
  periodMs: 1_000,
  processBound: true,
  wakeOn: ['run-ready'],
  async tick(runtime) {
    const more = await readyRuns(runtime)
    const done = await engineOf(runtime).claim()
    const next = await answered(nextWakeInMs(runtime.db))
    return { done, more, ...(next === null ? {} : { nextInMs: next }) }
  },
}

/** Moves to the queue what may go on by now. True where more of it is left than was moved. */
async function readyRuns(runtime: Runtime): Promise<boolean> {
  const { db, wake, log } = runtime
  const [woken, begun, passed] = await answered(
    Promise.all([wakeDueRuns(db, batch), wakeHeldRuns(db, batch, log), passSlots(db, runtime)]),
  )
  // Another worker may have the room that this one lacks.
  for (const id of [...begun, ...passed]) wake.runReady(id)
  return woken === batch || begun.length === batch
}

/** The look at what nothing should have put wrong: how often, and where this process's has come to. */
const lookEveryMs = 60_000
const looks = new WeakMap<object, { dueMs: number; slots: SlotCursor | null; queue: string | null }>()

async function lookAround({ db, clock, log }: Runtime): Promise<number> {
  const look = looks.get(db) ?? { dueMs: -Infinity, slots: null, queue: null }
  looks.set(db, look)
  if (clock.monotonicMs() < look.dueMs) return 0
  look.dueMs = clock.monotonicMs() + lookEveryMs
  const { mended, next } = await answered(reconcileSlots(db, look.slots))
  look.slots = next
  look.queue = await answered(dropEnded(db, look.queue))
  if (mended > 0) log.info('Slots of executions were put right.', { mended })
  return mended
}

/**
 * What holds runs back, put in order: ready work of paused workspaces out of the way of claims, slots as they should be. It
 * also moves what may go on, for where no process does so every second.
 */
export const holdsService: BackgroundService = {
  name: 'holds',
  periodMs: 5_000,
  async tick(runtime) {
    const { db, wake, log } = runtime
    for (const id of await answered(sweepPaused(db, log))) wake.runReady(id)
    const mended = await lookAround(runtime)
    await answered(forgetThrottles(db))
    const more = await readyRuns(runtime)
    const next = await answered(nextHeldInMs(db))
    return { done: mended, more, ...(next === null ? {} : { nextInMs: next }) }
  },
}

export const leasesService: BackgroundService = {
  name: 'leases',
  periodMs: 10_000,
  processBound: true,
  async tick(runtime) {
    return { done: await engineOf(runtime).renew(), more: false }
  },
}

export const inboxService: BackgroundService = {
  name: 'inbox',
  periodMs: 1_000,
  processBound: true,
  wakeOn: ['command'],
  async tick(runtime) {
    return { done: await engineOf(runtime).pollInbox(), more: false }
  },
}

/**
 * Gives back what dead workers held, cancels what triggers have left of those that end for them, and moves parked runs whose
 * time has come where nobody else does.
 */
export const recoveryService: BackgroundService = {
  name: 'recovery',
  periodMs: 5_000,
  async tick(runtime) {
    const recovered = await answered(recoverRuns(runtime.db, batch))
    runtime.measures?.leasesRecovered.add(recovered)
    const orphans = await answered(cancelOrphans(runtime, batch))
    const crowded = await answered(cancelCrowded(runtime))
    if (runtime.platform === 'workers') await answered(wakeDueRuns(runtime.db, batch))
    return { done: recovered, more: recovered === batch || orphans >= batch || crowded }
  },
}
