import { LruCache } from '../lru-cache.ts'
import { ecmascriptRegex } from '../regex/ecmascript.ts'
import type { LinearRegex } from '../regex/program.ts'

const known = new LruCache<LinearRegex>(500)

/** Compiled once while in use. Throws SyntaxError. */
export const patternOf = (source: string): LinearRegex => known.getOrMake(source, () => ecmascriptRegex(source))
