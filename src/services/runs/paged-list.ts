import { sha256 } from '@noble/hashes/sha2.js'
import { bytesToHex } from '@noble/hashes/utils.js'
import type { Blobs } from '../../context.ts'
import { sha256Hex } from '../../lib/canonical.ts'
import type { Json, JsonObject } from '../../lib/json.ts'

/** Characters of a page, unless one item alone has more. Whoever writes or reads a list holds one page at a time. */
const pageLength = 512 * 1024

/** A page is a JSON list of its own, kept beside the index under the hash of its bytes. */
interface PageEntry {
  sha256: string
  size: number
  count: number
}

/** What the blob of a long list holds: what the list is as one JSON text, and its pages in order. */
interface ListIndex {
  size: number
  sha256: string
  count: number
  pages: PageEntry[]
}

const indexSuffix = '.pages.json'
const open = 0x5b
const comma = 0x2c
const close = 0x5d

/** Whether a key names the index of a list in pages; any other names one value. */
export const isListKey = (key: string): boolean => key.endsWith(indexSuffix)

/**
 * Takes a list item by item and never holds more of it than a page. The pages are cut by the items alone, so a list that is
 * written again after a crash gives the same blobs.
 */
export class ListWriter {
  readonly #blobs: Blobs
  /** Of the blobs: `runs/<workspace>/<run>/`. */
  readonly #prefix: string
  readonly #whole = sha256.create()
  readonly #pages: PageEntry[] = []
  #texts: string[] = []
  #length = 0
  #size = 2

  constructor(blobs: Blobs, prefix: string) {
    this.#blobs = blobs
    this.#prefix = prefix
  }

  async add(item: Json): Promise<void> {
    const text = JSON.stringify(item)
    if (this.#length > 0 && this.#length + text.length > pageLength) await this.#flush()
    this.#texts.push(text)
    this.#length += text.length + 1
  }

  /** The list itself where it has at most so many bytes of JSON, else its handle. */
  async end(largestInlineBytes: number): Promise<Json> {
    if (this.#pages.length === 0) {
      const text = `[${this.#texts.join(',')}]`
      if (text.length <= largestInlineBytes && new TextEncoder().encode(text).length <= largestInlineBytes)
        return JSON.parse(text) as Json
    }
    await this.#flush()
    this.#whole.update(Uint8Array.of(close))
    const count = this.#pages.reduce((sum, page) => sum + page.count, 0)
    const index: ListIndex = { size: this.#size, sha256: bytesToHex(this.#whole.digest()), count, pages: this.#pages }
    const key = `${this.#prefix}${index.sha256}${indexSuffix}`
    await putJson(this.#blobs, key, new TextEncoder().encode(JSON.stringify(index)))
    return toHandle(key, index)
  }

  async #flush(): Promise<void> {
    const bytes = new TextEncoder().encode(`[${this.#texts.join(',')}]`)
    const page = { sha256: sha256Hex(bytes), size: bytes.length, count: this.#texts.length }
    this.#whole.update(Uint8Array.of(this.#pages.length === 0 ? open : comma)).update(bytes.subarray(1, -1))
    this.#size += bytes.length - 2 + (this.#pages.length === 0 ? 0 : 1)
    this.#texts = []
    this.#length = 0
    this.#pages.push(page)
    await putJson(this.#blobs, `${this.#prefix}${page.sha256}.json`, bytes)
  }
}

/** `size` and `sha256` are those of the list as one JSON text, which is what a download gives. */
const toHandle = (key: string, { size, sha256: hash, count, pages }: ListIndex): JsonObject => ({
  $blob: key,
  size,
  sha256: hash,
  media_type: 'application/json',
  count,
  pages: pages.length,
})

const putJson = (blobs: Blobs, key: string, bytes: Uint8Array) =>
  blobs.put(key, bytes, { mediaType: 'application/json' })

/** A list that is kept in pages, read page by page. */
export class PagedList {
  readonly #blobs: Blobs
  readonly #prefix: string
  readonly #index: ListIndex
  /** Position of the first item of each page. */
  readonly #starts: number[] = []
  #latest: { page: number; items: Promise<Json[]> } | null = null

  private constructor(blobs: Blobs, key: string, index: ListIndex) {
    this.#blobs = blobs
    this.#prefix = key.slice(0, key.lastIndexOf('/') + 1)
    this.#index = index
    let start = 0
    for (const { count } of index.pages) {
      this.#starts.push(start)
      start += count
    }
  }

  /** Null where it is gone. */
  static async open(blobs: Blobs, key: string): Promise<PagedList | null> {
    const bytes = await blobs.get(key)
    return bytes && new PagedList(blobs, key, JSON.parse(new TextDecoder().decode(bytes)) as ListIndex)
  }

  get count(): number {
    return this.#index.count
  }

  get size(): number {
    return this.#index.size
  }

  /** Meant for positions that ascend: the page that was read last is kept, and no other. */
  async item(position: number): Promise<Json> {
    let page = this.#latest?.page ?? 0
    if (this.#starts[page]! > position) page = 0
    while (page + 1 < this.#starts.length && this.#starts[page + 1]! <= position) page++
    if (this.#latest?.page !== page) {
      const latest = { page, items: this.#read(page).then(parseList) }
      this.#latest = latest
      // What could not be read is asked for again by whoever needs it next.
      latest.items.catch(() => {
        if (this.#latest === latest) this.#latest = null
      })
    }
    const items = await this.#latest!.items
    return items[position - this.#starts[page]!]!
  }

  /** The items in order. */
  async *items(): AsyncGenerator<Json> {
    for (let page = 0; page < this.#starts.length; page++) yield* parseList(await this.#read(page))
  }

  /** The list as one JSON text, of exactly `size` bytes. */
  stream(): ReadableStream<Uint8Array> {
    let next = 0
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        if (next < this.#starts.length) {
          const page = (await this.#read(next)).slice(0, -1)
          if (next > 0) page[0] = comma
          next++
          controller.enqueue(page)
        } else {
          controller.enqueue(Uint8Array.of(close))
          controller.close()
        }
      },
    })
  }

  async #read(page: number): Promise<Uint8Array> {
    const bytes = await this.#blobs.get(`${this.#prefix}${this.#index.pages[page]!.sha256}.json`)
    if (!bytes) throw new Error('A page of a stored list is gone.')
    return bytes
  }
}

const parseList = (bytes: Uint8Array): Json[] => JSON.parse(new TextDecoder().decode(bytes)) as Json[]
