import { sql, type ColumnType, type RawBuilder } from 'kysely'

declare const encoded: unique symbol
/** What a jsonb column takes: only `jsonb()` makes one. */
export type JsonParam = { readonly [encoded]: true }
/** A jsonb column: read as T, written through `jsonb()`. */
export type JsonColumn<T> = ColumnType<T, JsonParam, JsonParam>
/** A jsonb column with a default: may be left out of an insert. */
export type DefaultedJsonColumn<T> = ColumnType<T, JsonParam | undefined, JsonParam>
export type NullableJsonColumn<T> = ColumnType<T | null, JsonParam | null | undefined, JsonParam | null>

/**
 * PostgreSQL's jsonb refuses NUL and lone surrogates. They are stored as the six characters of their escape, so one
 * odd character in a page or a model's answer cannot fail a checkpoint.
 */
export function toJsonText(value: unknown): string {
  const text = JSON.stringify(value ?? null)
  if (!text.includes('\\u')) return text
  // An escape counts only behind an even number of backslashes. JSON.stringify escapes nothing above U+001F but lone surrogates.
  return text.replace(/(?<!\\)((?:\\\\)*)\\u(0000|d[89a-f][0-9a-f]{2})/gi, '$1\\\\u$2')
}

/**
 * A jsonb parameter. It goes as text and is cast by the server: drivers disagree on whether a string bound to a jsonb
 * parameter is JSON already (PGlite) or must be encoded once more (postgres.js).
 */
export function jsonb(value: unknown): RawBuilder<JsonParam> {
  return sql<JsonParam>`${toJsonText(value)}::text::jsonb`
}
