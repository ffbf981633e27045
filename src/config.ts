import { withRequiredTls } from './config/database-url.ts'
import { identityProviderFaults, identityProviderWarnings } from './config/identity-provider.ts'
import type { Lookup, Setting } from './config/setting.ts'
import { settings, type Settings } from './config/settings.ts'
import { unsupportedWarning } from './config/unsupported.ts'
import { Secret } from './lib/secret.ts'

type CamelCase<S extends string> = S extends `${infer Head}_${infer Tail}`
  ? `${Lowercase<Head>}${Capitalize<CamelCase<Tail>>}`
  : Lowercase<S>
type ValueOf<S> = S extends Setting<infer T> ? T : never

/** The settings, flat: `DATABASE_URL` is `databaseUrl`. Frozen; secrets print as `***`. */
export type Config = { readonly [K in keyof Settings as CamelCase<K>]: ValueOf<Settings[K]> } & {
  /** What was set but has no effect, in sentences for the log. */
  readonly warnings: readonly string[]
  /** Each variable with where its value came from; secrets are `***`. */
  readonly effective: readonly EffectiveSetting[]
}

export interface ConfigFault {
  variable: string
  detail: string
}

/** Every fault of the environment at once, so that one restart repairs all of them. */
export class ConfigError extends Error {
  readonly faults: readonly ConfigFault[]
  constructor(faults: readonly ConfigFault[]) {
    super(`The configuration is invalid:\n${faults.map((fault) => `  ${fault.variable} ${fault.detail}`).join('\n')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}

export interface ConfigOptions {
  /** Where the settings apply. On Workers the database is a binding, so none has to be named. */
  runtime?: 'server' | 'workers'
}
export type ConfigSource = 'environment' | 'default' | 'computed' | 'unset'
export interface EffectiveSetting {
  variable: string
  /** As `npm run config` prints it: secrets are `***`. */
  value: string
  source: ConfigSource
}

const table: Record<string, Setting<unknown>> = settings

/** The only reader of environment names. Throws ConfigError. Values that are no strings (bindings) are ignored. */
export function parseConfig(env: Record<string, unknown>, options: ConfigOptions = {}): Config {
  return resolveConfig(env, options).config
}

/** As parseConfig, together with where each value came from. */
export function resolveConfig(
  env: Record<string, unknown>,
  { runtime = 'server' }: ConfigOptions = {},
): { config: Config; effective: EffectiveSetting[] } {
  const faults: ConfigFault[] = []
  // A computed value is bad because one that it follows from is: that one is named instead.
  const computedFaults: ConfigFault[] = []
  const values: Record<string, unknown> = {}
  const effective: EffectiveSetting[] = []

  for (const [variable, setting] of Object.entries(table)) {
    const { text, source } = effectiveText(env, variable)
    const result = text === undefined ? undefined : setting.type.schema.safeParse(text)
    if (result && !result.success) {
      const got = setting.secret || source !== 'environment' ? '' : `, got ${JSON.stringify(text)}`
      const list = source === 'computed' ? computedFaults : faults
      for (const issue of result.error.issues) list.push({ variable, detail: `${issue.message}${got}.` })
    }
    values[camelCase(variable)] = result?.success ? result.data : null
    effective.push({ variable, value: setting.secret && text !== undefined ? '***' : (text ?? ''), source })
  }

  if (values['environment'] === 'production') {
    if (values['databaseUrl'] instanceof Secret) {
      values['databaseUrl'] = new Secret(withRequiredTls(values['databaseUrl'].reveal()))
    } else if (
      runtime === 'server' &&
      ownText(env, 'DATABASE_URL') === undefined &&
      ownText(env, 'DATA_DIR') === undefined
    ) {
      faults.push({
        variable: 'DATABASE_URL',
        detail: 'is required in production. To run on the embedded database on purpose, set DATA_DIR.',
      })
    }
  }
  const lookup: Lookup = (variable) => effectiveText(env, variable).text
  faults.push(...identityProviderFaults(lookup))
  for (const [variable, other] of together) {
    if (ownText(env, variable) !== undefined && ownText(env, other) === undefined)
      faults.push({ variable: other, detail: `is required with ${variable}.` })
  }
  if (faults.length === 0) faults.push(...computedFaults)
  if (faults.length > 0) throw new ConfigError(faults)

  const warnings = Object.keys(env)
    .filter((variable) => !Object.hasOwn(table, variable) && ownText(env, variable) !== undefined)
    .flatMap((variable) => unsupportedWarning(variable) ?? [])
    .toSorted()
    .concat(identityProviderWarnings(lookup), addressWarnings(env, lookup))
  return { config: toConfig({ ...values, warnings, effective }), effective }
}

/** What the address falls back to leads whoever is given a link to their own machine. */
function addressWarnings(env: Record<string, unknown>, lookup: Lookup): string[] {
  if (lookup('ENVIRONMENT') !== 'production' || (ownText(env, 'API_URL') ?? ownText(env, 'BACKEND_URL'))) return []
  const address = lookup('API_URL')
  return [
    `API_URL is not set: links in e-mails, approvals, webhooks and files begin with ${address}, which leads nobody here.`,
  ]
}

/** The first is of no use without the second. */
const together = [
  ['UPSTASH_REDIS_REST_URL', 'UPSTASH_REDIS_REST_TOKEN'],
  ['UPSTASH_REDIS_REST_TOKEN', 'UPSTASH_REDIS_REST_URL'],
  ['S3_BUCKET', 'S3_ACCESS_KEY_ID'],
  ['S3_BUCKET', 'S3_SECRET_ACCESS_KEY'],
  ['S3_ENDPOINT', 'S3_BUCKET'],
  ['S3_ACCESS_KEY_ID', 'S3_BUCKET'],
  ['EMAIL_API_URL', 'EMAIL_API_KEY'],
  ['EMAIL_API_KEY', 'EMAIL_API_URL'],
  ['EMAIL_API_URL', 'EMAIL_FROM'],
  ['SMTP_URL', 'EMAIL_FROM'],
] as const

/** An empty variable counts as unset: that is how shells and compose files spell "no value". */
function ownText(env: Record<string, unknown>, variable: string): string | undefined {
  const value = Object.hasOwn(env, variable) ? env[variable] : undefined
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined
}

function effectiveText(
  env: Record<string, unknown>,
  variable: string,
): { text: string | undefined; source: ConfigSource } {
  const own = ownText(env, variable)
  if (own !== undefined) return { text: own, source: 'environment' }
  const fallback = table[variable]?.default
  if (fallback === undefined) return { text: undefined, source: 'unset' }
  if (typeof fallback === 'string') return { text: fallback, source: 'default' }
  const lookup: Lookup = (other) => effectiveText(env, other).text
  const text = fallback.compute(lookup)
  return { text, source: text === undefined ? 'unset' : 'computed' }
}

/** Safe by construction: one value of its schema for each line of the table, none left out. */
const toConfig = (values: Record<string, unknown>) => deepFreeze(values) as unknown as Config

const camelCase = (variable: string) =>
  variable.toLowerCase().replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase())

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const inner of Object.values(value)) deepFreeze(inner)
    Object.freeze(value)
  }
  return value
}
