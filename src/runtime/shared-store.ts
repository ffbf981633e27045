import type { ComponentHealth, Kv, Limiter, Runtime } from '../context.ts'
import type { Ask, Guard } from './guard.ts'

/** The two ports whose state all instances may share. */
export interface SharedStore {
  kv: Kv
  limiter: Limiter
  probes: Pick<Runtime['probes'], 'kv' | 'limiter'>
}
type Ports = Pick<SharedStore, 'kv' | 'limiter'>

/** Both ports behind one guard. `adapter` is what /health shows: `Redis`. */
export function guardedStore(adapter: string, guard: Guard, open: (ask: Ask) => Ports): SharedStore {
  return sharedStore(adapter, open(guard), open(guard.insist))
}

/** `probed` is what the probes ask, where that is another way to the same store. */
export function sharedStore(adapter: string, { kv, limiter }: Ports, probed: Ports = { kv, limiter }): SharedStore {
  const probe = async (use: () => unknown, failed: ComponentHealth): Promise<ComponentHealth> => {
    try {
      await use()
      return { status: 'healthy', detail: adapter }
    } catch {
      return failed
    }
  }
  return {
    kv,
    limiter,
    probes: {
      kv: () =>
        probe(() => probed.kv.get('health:probe'), { status: 'unhealthy', detail: `${adapter} does not answer` }),
      limiter: () =>
        probe(() => probed.limiter.take('health:probe', 1_000_000, 1), {
          status: 'degraded',
          detail: `${adapter} does not answer; requests pass unlimited`,
        }),
    },
  }
}
