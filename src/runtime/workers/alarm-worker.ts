import { DurableObject } from 'cloudflare:workers'
import type { Runtime, TickReport } from '../../context.ts'
import type { AlarmStatus, AlarmTarget, Bindings, WaitUntil } from './bindings.ts'

/** A bounded piece of work that is safe to repeat and to run in several places at once. */
export type Pass = (runtime: Runtime, owner: string, bindings: Bindings) => Promise<TickReport>
type Opened = { runtime: Runtime; close(): Promise<void> }
export type OpenRuntimeFor = (bindings: Bindings, waitUntil: WaitUntil) => Opened | Promise<Opened>

/** Longer than the 15 minutes an alarm may take: set while a pass runs, so that not even a killed one ends the chain. */
const netMs = 16 * 60_000
const maxBackoffMs = 60_000

/**
 * A Durable Object class that does its pass whenever its alarm goes off. Everything it knows is an agenda of times;
 * what there is to do stands in the database.
 */
export function alarmWorker(pass: Pass, open: OpenRuntimeFor) {
  return class AlarmWorker extends DurableObject<Bindings> implements AlarmTarget {
    constructor(state: DurableObjectState, bindings: Bindings) {
      super(state, bindings)
      state.storage.sql.exec('create table if not exists agenda (at integer primary key)')
    }

    async poke(delayMs = 0): Promise<void> {
      this.plan(Date.now() + Math.max(0, delayMs))
      await this.arm()
    }

    async status(): Promise<AlarmStatus> {
      return {
        nextPassAt: this.first(),
        failures: (await this.ctx.storage.get<number>('failures')) ?? 0,
        lastError: (await this.ctx.storage.get<string>('last-error')) ?? null,
      }
    }

    override async alarm(): Promise<void> {
      const begun = Date.now()
      const net = begun + netMs
      this.ctx.storage.sql.exec('delete from agenda where at <= ?', begun)
      this.plan(net)
      await this.arm()

      // A poke that comes while the pass runs stays on the agenda: its rows may be newer than what the pass reads.
      let nextInMs: number | null = maxBackoffMs
      try {
        nextInMs = await this.work()
      } finally {
        this.ctx.storage.sql.exec('delete from agenda where at = ?', net)
        if (nextInMs !== null) this.plan(Date.now() + nextInMs)
        await this.arm()
      }
    }

    /** Does the pass and says in how many milliseconds the next is due; null = when someone pokes. */
    async work(): Promise<number | null> {
      const opened = await open(this.env, (promise) => this.ctx.waitUntil(promise))
      const { log } = opened.runtime
      try {
        const report = await pass(opened.runtime, this.ctx.id.toString(), this.env)
        if (((await this.ctx.storage.get<number>('failures')) ?? 0) > 0)
          await this.ctx.storage.delete(['failures', 'last-error'])
        return report.more ? 0 : (report.nextInMs ?? null)
      } catch (error) {
        const failures = ((await this.ctx.storage.get<number>('failures')) ?? 0) + 1
        await this.ctx.storage.put({ failures, 'last-error': error instanceof Error ? error.message : String(error) })
        const backoffMs = Math.round(Math.min(maxBackoffMs, 500 * 2 ** failures) * (0.5 + Math.random() / 2))
        log.error('An alarm pass failed', { error, failures, retry_in_ms: backoffMs })
        return backoffMs
      } finally {
        await opened.close().catch((error: unknown) => log.warn('A database client did not close', { error }))
      }
    }

    plan(at: number): void {
      this.ctx.storage.sql.exec('insert or ignore into agenda (at) values (?)', Math.ceil(at))
    }

    first(): number | null {
      return this.ctx.storage.sql.exec<{ at: number | null }>('select min(at) as at from agenda').one().at
    }

    async arm(): Promise<void> {
      const at = this.first()
      if (at === null) await this.ctx.storage.deleteAlarm()
      else await this.ctx.storage.setAlarm(at)
    }
  }
}
