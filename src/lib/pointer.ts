/** A JSON pointer (RFC 6901) one level down. */
export const pointerTo = (pointer: string, key: string | number): string =>
  `${pointer}/${String(key).replaceAll('~', '~0').replaceAll('/', '~1')}`

export const toPointer = (path: readonly PropertyKey[]): string =>
  path.reduce<string>((pointer, key) => pointerTo(pointer, typeof key === 'symbol' ? '' : key), '')

/** What a pointer names in a JSON document; undefined where there is nothing. */
export function atPointer(document: unknown, pointer: string): unknown {
  if (pointer === '') return document
  let value = document
  for (const part of pointer.slice(1).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string, unknown>)[key]
  }
  return value
}

const longestPointer = 2_000

/** Names of a caller's data may be as long as its body, and every fault below one repeats it: then the place around it is told. */
export const shortPointer = (pointer: string): string =>
  pointer.length <= longestPointer ? pointer : pointer.slice(0, pointer.lastIndexOf('/', longestPointer))
