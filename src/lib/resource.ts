import { canonicalJson } from './canonical.ts'

/** Names what a GET reads, whatever way its address is written: the route as it is documented, and its parameters. */
export const resourceOf = (template: string, params: Readonly<Record<string, unknown>>): string =>
  `GET ${template} ${canonicalJson(params)}`
