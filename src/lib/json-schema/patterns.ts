import { LruCache } from '../lru-cache.ts'
import { ecmascriptRegex, type EcmaScriptRegex } from '../regex/ecmascript.ts'

const known = new LruCache<EcmaScriptRegex>(500)

/** Compiled once while in use. Throws SyntaxError. */
export const patternOf = (source: string): EcmaScriptRegex => known.getOrMake(source, () => ecmascriptRegex(source))
