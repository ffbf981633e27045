import { sql, type Kysely } from 'kysely'
import type { Database } from '../../db/database.ts'
import type { WorkflowState } from '../../db/tables/workflows.table.ts'
import type { JsonObject } from '../../lib/json.ts'

/** How soon the next run, an approval or the end is seen while no run tells of itself; less soon where nothing moves for long. */
const pollMs = 500
const quietPollMs = 2_000

export interface Standing {
  state: WorkflowState
  has_ended: boolean
  plan: number
  attention: string[] | null
  error: JsonObject | null
  /** In the order of their numbers. */
  runs: {
    number: number
    run_id: string
    purpose: 'plan' | 'run'
    plan: number
    last_seq: number
    is_last: boolean
    has_ended: boolean
  }[]
}

/** Who waits for a look at the workflow: one that begins from now on, or one that differs from what is known. */
interface Waiter {
  known: Standing | null
  resolve: (standing: Standing | null) => void
}

/** One reader of a followed workflow, for as long as somebody waits for it. */
class Reader {
  readonly #db: Kysely<Database>
  readonly #id: string
  readonly #waiters = new Set<Waiter>()
  #isReading = false
  #again = false
  #seen = ''
  #pauseMs = pollMs
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(db: Kysely<Database>, id: string) {
    this.#db = db
    this.#id = id
  }

  get isIdle(): boolean {
    return this.#waiters.size === 0
  }

  add(waiter: Waiter): void {
    this.#waiters.add(waiter)
    if (waiter.known === null) this.#wake()
    else this.#plan()
  }

  remove(waiter: Waiter): void {
    this.#waiters.delete(waiter)
    if (this.isIdle) this.#stopTimer()
  }

  #wake(): void {
    this.#again = true
    if (!this.#isReading) void this.#read()
  }

  #plan(): void {
    if (!this.#isReading && !this.isIdle) this.#timer ??= setTimeout(() => this.#wake(), this.#pauseMs)
  }

  #stopTimer(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  async #read(): Promise<void> {
    this.#isReading = true
    this.#stopTimer()
    try {
      while (this.#again) {
        this.#again = false
        const asking = [...this.#waiters]
        const standing = await look(this.#db, this.#id)
        const seen = JSON.stringify(standing)
        this.#pauseMs = seen === this.#seen ? Math.min(quietPollMs, this.#pauseMs * 1.1) : pollMs
        this.#seen = seen
        for (const { known, resolve } of asking) if (known === null || JSON.stringify(known) !== seen) resolve(standing)
      }
    } catch {
      // The database does not answer; those who wait go on waiting, and the next look tries again.
    } finally {
      this.#isReading = false
      this.#plan()
    }
  }
}

const readers = new WeakMap<Kysely<Database>, Map<string, Reader>>()

/**
 * How the workflow stands from now on, or, with what is known, once it stands otherwise. However many ask in this process,
 * one statement answers them all. Null where it is deleted or a signal aborts. The caller has checked the tenant.
 */
export function nextStanding(
  db: Kysely<Database>,
  id: string,
  known: Standing | null,
  signals: AbortSignal[],
): Promise<Standing | null> {
  const ofDatabase = readers.get(db) ?? new Map<string, Reader>()
  readers.set(db, ofDatabase)
  const reader = ofDatabase.get(id) ?? new Reader(db, id)
  ofDatabase.set(id, reader)
  return new Promise((resolve) => {
    const done = (standing: Standing | null) => {
      for (const each of signals) each.removeEventListener('abort', onAbort)
      reader.remove(waiter)
      if (reader.isIdle && ofDatabase.get(id) === reader) ofDatabase.delete(id)
      resolve(standing)
    }
    const onAbort = () => done(null)
    const waiter = { known, resolve: done }
    if (signals.some((each) => each.aborted)) return done(null)
    for (const each of signals) each.addEventListener('abort', onAbort)
    reader.add(waiter)
  })
}

async function look(db: Kysely<Database>, id: string): Promise<Standing | null> {
  const { rows } = await sql<Standing>`
    select w.state, w.finished_at is not null as has_ended, w.plan, p.attention, w.error, coalesce(l.runs, '[]') as runs
    from workflows w
    left join workflow_plans p on p.workflow_id = w.id and p.number = w.plan
    left join lateral (
      select jsonb_agg(jsonb_build_object('number', n.number, 'run_id', r.id, 'purpose', r.trigger -> 'purpose',
        'plan', r.trigger -> 'plan', 'last_seq', r.last_seq, 'is_last', n.is_last, 'has_ended', r.finished_at is not null)
        order by n.number) as runs
      from (
        select number, run_id, number = max(number) over () as is_last from workflow_runs
        where workflow_id = w.id
      ) n join runs r on r.id = n.run_id
    ) l on true
    where w.id = ${id}`.execute(db)
  return rows[0] ?? null
}
