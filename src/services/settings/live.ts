import type { Config } from '../../config.ts'

/** What the database said of the settings when it was last asked. */
export interface LiveSettings {
  /** The configuration with the values of the database in place of its own. */
  readonly config: Config
  readonly overridden: ReadonlySet<string>
  readonly readAtMs: number
}

// By the parsed configuration, which lives as long as the process or the isolate.
const known = new WeakMap<object, LiveSettings>()

/** The settings as they are now, for what can change while the process runs. */
export const liveConfig = (config: Config): Config => known.get(config)?.config ?? config

export const liveSettings = (config: Config): LiveSettings | undefined => known.get(config)
export const setLive = (config: Config, live: LiveSettings): void => void known.set(config, live)

/** The limits as a request finds them: read with each, so that a change counts from the next one on. */
export function liveLimits<K extends keyof Config>(config: Config, ...fields: K[]): Pick<Config, K> {
  const limits = {} as Pick<Config, K>
  for (const field of fields) {
    Object.defineProperty(limits, field, { enumerable: true, get: () => liveConfig(config)[field] })
  }
  return limits
}
