import type { Blobs } from '../../context.ts'
import { toJsonText } from '../../db/json.ts'
import { sha256Hex } from '../../lib/canonical.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { inStoredOrder } from '../../lib/stored-json.ts'
import { isListKey, ListWriter, PagedList } from './paged-list.ts'

/** Larger values live in a blob; a row, an expression or a checkpoint is no place for them. */
export const largestInlineBytes = 256 * 1024

/**
 * The value as the database will give it back: keys in its order, texts that it refuses escaped. A step must see the
 * same before and after a resume, or what it sends under one idempotency key would differ.
 */
export const asStored = (value: Json): Json => inStoredOrder(JSON.parse(toJsonText(value)) as Json)

/** Replaces a large value by its handle `{"$blob": key, size, sha256, media_type}`; that of a list also has `count` and `pages`. */
export async function spill(blobs: Blobs, workspaceId: string, runId: string, value: Json): Promise<Json> {
  const text = JSON.stringify(value)
  // A character is at most three bytes of UTF-8: most values need no encoding to be found small.
  if (text.length * 3 <= largestInlineBytes) return value
  const bytes = new TextEncoder().encode(text)
  if (bytes.length <= largestInlineBytes) return value
  if (Array.isArray(value)) return spillList(blobs, workspaceId, runId, value)
  const sha256 = sha256Hex(bytes)
  const key = `${prefixOf(workspaceId, runId)}${sha256}.json`
  await blobs.put(key, bytes, { mediaType: 'application/json' })
  return { $blob: key, size: bytes.length, sha256, media_type: 'application/json' }
}

/** A list that comes item by item: itself where it is small, else its handle. No more of it is held than a page. */
export async function spillList(
  blobs: Blobs,
  workspaceId: string,
  runId: string,
  items: Iterable<Json> | AsyncIterable<Json>,
): Promise<Json> {
  const writer = new ListWriter(blobs, prefixOf(workspaceId, runId))
  for await (const item of items) await writer.add(item)
  return writer.end(largestInlineBytes)
}

/** The value behind a handle made by `spill` for this workspace, whole; any other value as it is. */
export async function unspill(blobs: Blobs, workspaceId: string, value: Json): Promise<Json> {
  const list = await openList(blobs, workspaceId, value)
  if (list) {
    const items: Json[] = []
    for await (const item of list.items()) items.push(item)
    return items
  }
  const key = isHandle(value) ? value['$blob'] : null
  if (typeof key !== 'string') return value
  // A handle is data that a step may have invented: only blobs of the same workspace's runs are read through it.
  if (!key.startsWith(`runs/${workspaceId}/`) || key.includes('..')) throw new Error('The value is not to be found.')
  const bytes = await blobs.get(key)
  if (!bytes) throw gone()
  return JSON.parse(new TextDecoder().decode(bytes)) as Json
}

/** The list behind a handle, to be read page by page; null for any other value, a list that is kept as one value included. */
export async function openList(blobs: Blobs, workspaceId: string, value: Json): Promise<PagedList | null> {
  const key = spilledKey(workspaceId, value)
  if (key === null || !isListKey(key)) return null
  const list = await PagedList.open(blobs, key)
  if (!list) throw gone()
  return list
}

/** Handles as they are after a move, by the key that they had; null: what it stood for was gone. */
export type Moved = Map<string, Json>

/**
 * A value whose handles, wherever in it they stand and whatever they hold in turn, are copied to be of this run. `moved`
 * remembers the copies: what several values share is copied once.
 */
export async function rehome(
  blobs: Blobs,
  workspaceId: string,
  runId: string,
  value: Json,
  moved: Moved = new Map(),
): Promise<Json> {
  const rehomed = async (each: Json): Promise<Json> => {
    const text = JSON.stringify(each)
    if (!namesBlob(text)) return each
    for (const [key, handle] of handlesIn(workspaceId, text))
      if (!moved.has(key) && !isOwn(workspaceId, runId, handle)) moved.set(key, await copyOf(key, handle))
    return renamed(workspaceId, each, moved)
  }
  const copyOf = async (key: string, handle: JsonObject): Promise<Json> => {
    if (isListKey(key)) {
      const list = await PagedList.open(blobs, key)
      return list && spillList(blobs, workspaceId, runId, mapped(list.items(), rehomed))
    }
    const bytes = await blobs.get(key)
    if (!bytes) return null
    const text = new TextDecoder().decode(bytes)
    if (namesBlob(text)) return spill(blobs, workspaceId, runId, await rehomed(JSON.parse(text) as Json))
    const own = prefixOf(workspaceId, runId) + key.slice(key.lastIndexOf('/') + 1)
    await blobs.put(own, bytes, { mediaType: 'application/json' })
    return { ...handle, $blob: own }
  }
  const result = await rehomed(value)
  // Inside a value a handle may be data that speaks of what has long gone.
  const key = spilledKey(workspaceId, value)
  if (key !== null && moved.get(key) === null) throw gone()
  return result
}

/** The value with the handles that were moved as they are now. */
export const renamed = (workspaceId: string, value: Json, moved: Moved): Json =>
  JSON.parse(JSON.stringify(value), (_, each: Json) => moved.get(spilledKey(workspaceId, each) ?? '') ?? each) as Json

const namesBlob = (text: string): boolean => text.includes('"$blob"')

function handlesIn(workspaceId: string, text: string): Map<string, JsonObject> {
  const handles = new Map<string, JsonObject>()
  JSON.parse(text, (_, each: Json) => {
    const key = spilledKey(workspaceId, each)
    if (key !== null) handles.set(key, each as JsonObject)
    return each
  })
  return handles
}

async function* mapped(items: AsyncIterable<Json>, change: (item: Json) => Promise<Json>): AsyncGenerator<Json> {
  for await (const item of items) yield await change(item)
}

/** Whether a handle is of this run, so that what it stands for lives as long as the run. */
export const isOwn = (workspaceId: string, runId: string, value: Json): boolean =>
  spilledKey(workspaceId, value)?.startsWith(prefixOf(workspaceId, runId)) ?? false

/** Where the value behind a handle is kept; null for any other value. Only what `spill` names for runs of this workspace counts. */
export function spilledKey(workspaceId: string, value: Json): string | null {
  const key = isHandle(value) ? String(value['$blob']) : ''
  const prefix = `runs/${workspaceId}/`
  return key.startsWith(prefix) && /^[0-9a-f-]{36}\/[0-9a-f]{64}(\.pages)?\.json$/.test(key.slice(prefix.length))
    ? key
    : null
}

/** What a value is, however it is kept: a list that an older version kept in one blob is the one that is in pages now. */
export const identityOf = (value: Json): Json =>
  isHandle(value) && typeof value['sha256'] === 'string'
    ? { sha256: value['sha256'], size: value['size'] ?? null }
    : value

function isHandle(value: Json): value is JsonObject {
  return isObject(value) && typeof value['$blob'] === 'string'
}

const prefixOf = (workspaceId: string, runId: string): string => `runs/${workspaceId}/${runId}/`

const gone = () => new Error('The stored value is gone.')
