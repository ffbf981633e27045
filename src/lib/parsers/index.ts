import type { Json } from '../json.ts'
import { LanguageError } from '../language/scope.ts'

export type ParseMode = 'auto' | 'json' | 'text' | 'csv' | 'feed' | 'html_text'

/** The body of an answer as a value, by mode or by its media type. */
export function parseBody(_bytes: Uint8Array, _mediaType: string | null, _mode: ParseMode): Json {
  throw new LanguageError('Parsers are landing in the next commit.')
}
