import type { ValueType } from './value-types.ts'

export const categories = [
  'General',
  'Server',
  'Database',
  'Redis',
  'Files',
  'Security',
  'URLs and CORS',
  'Rate limits',
  'Egress',
  'E-mail',
  'Features',
  'Engine',
  'Models',
  'Observability',
] as const
export type Category = (typeof categories)[number]

/** The effective text of another variable, for defaults that follow from it. */
export type Lookup = (variable: string) => string | undefined

/** A default that depends on other variables; `text` describes it in the documentation. */
export interface ComputedDefault {
  text: string
  compute(lookup: Lookup): string | undefined
}

interface About {
  category: Category
  description: string
  /** Shown as `***`, in the documentation's words and by `npm run config`. */
  secret?: boolean
  /** Which runtimes read it; both where absent. */
  runtimes?: 'server' | 'workers'
  /** A value for `.env.example` where neither the default nor the name says enough. */
  example?: string
}

/** One variable: everything that parsing, documentation and `npm run config` need to know about it. */
export interface Setting<T> extends About {
  type: ValueType<NonNullable<T>>
  default?: string | ComputedDefault
}

/** A setting that always has a value. */
export const setting = <T>(type: ValueType<T>, about: About & { default: string | ComputedDefault }): Setting<T> => ({
  ...about,
  type: type as ValueType<NonNullable<T>>,
})

/** A setting that is null when nothing sets it. */
export const optional = <T>(type: ValueType<T>, about: About & { default?: ComputedDefault }): Setting<T | null> => ({
  ...about,
  type: type as ValueType<NonNullable<T>>,
})
