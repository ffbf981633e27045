import type { Config } from '../../config.ts'
import type { BackgroundService, Runtime } from '../../context.ts'
import { liveSettings, setLive } from './live.ts'
import { aboutOf, isSettingKey, readValue } from './registry.ts'

/** How long a change may go unheard where its notice was lost. */
const periodMs = 5_000

type Parts = Pick<Runtime, 'db' | 'config' | 'log' | 'clock'>

/** Reads what the database says. A value that this version does not take is left out, and said in the log. */
export async function refreshSettings({ db, config, log, clock }: Parts): Promise<void> {
  const rows = await db.selectFrom('system_settings').select(['key', 'value']).execute()
  const values: Record<string, unknown> = { ...config }
  const overridden = new Set<string>()
  for (const { key, value } of rows) {
    if (!isSettingKey(key)) continue
    const read = readValue(key, value)
    if (read === undefined) {
      log.warn('A system setting is passed over: this version does not take its value.', { key })
      continue
    }
    values[aboutOf(key).field] = read
    overridden.add(key)
  }
  // Safe: the configuration, with values that the schemas of its own settings gave.
  const live = Object.freeze(values) as unknown as Config
  setLive(config, { config: live, overridden, readAtMs: clock.monotonicMs() })
  log.setLevel?.(live.logLevel)
}

/** Where no service runs beside the requests: asks again behind the request that finds the answer old. */
export function refreshStaleSettings(runtime: Runtime): void {
  const known = liveSettings(runtime.config)
  const nowMs = runtime.clock.monotonicMs()
  if (known && nowMs - known.readAtMs < periodMs) return
  // Marked first, so that of many requests one asks.
  setLive(runtime.config, {
    config: known?.config ?? runtime.config,
    overridden: known?.overridden ?? new Set(),
    readAtMs: nowMs,
  })
  runtime.defer(refreshSettings(runtime))
}

export const settingsService: BackgroundService = {
  name: 'settings',
  periodMs,
  wakeOn: ['settings-changed'],
  async tick(runtime) {
    await refreshSettings(runtime)
    return { done: 0, more: false }
  },
}
