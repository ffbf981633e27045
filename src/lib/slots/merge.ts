import { nextSlot } from './slots.ts'
import type { SlotSpec } from './spec.ts'

export interface SlotSource {
  id: string
  spec: SlotSpec
  /** Slots after it are asked for. */
  after: Date
  /** No slot of this source is earlier: it need not be computed before that. */
  notBefore: Date
}

export interface MergedSlot<S> {
  at: Date
  source: S
}

/**
 * The slots of many sources in one order, by time and then id, computed one by one as they are taken: a page of the first
 * hundred costs no more with ten thousand sources than their sorting does. Sources whose slots cannot be computed are left
 * out. The end is exclusive.
 */
export function* mergeSlots<S extends SlotSource>(sources: readonly S[], end: Date): Generator<MergedSlot<S>> {
  const heap = new Heap<MergedSlot<S> & { computed: boolean }>((a, b) => a.at.getTime() - b.at.getTime() || rank(a, b))
  for (const source of sources) heap.push({ at: source.notBefore, source, computed: false })
  for (let top = heap.pop(); top; top = heap.pop()) {
    if (top.at >= end) return
    if (top.computed) yield { at: top.at, source: top.source }
    const next = nextOrNull(top.source.spec, top.computed ? top.at : top.source.after)
    if (next) heap.push({ at: next, source: top.source, computed: true })
  }
}

/** What is not computed yet may turn out to be as early as this, and smaller. */
function rank<S extends SlotSource>(
  a: MergedSlot<S> & { computed: boolean },
  b: MergedSlot<S> & { computed: boolean },
): number {
  if (a.computed !== b.computed) return a.computed ? 1 : -1
  return a.source.id < b.source.id ? -1 : a.source.id > b.source.id ? 1 : 0
}

function nextOrNull(spec: SlotSpec, after: Date): Date | null {
  try {
    return nextSlot(spec, after)
  } catch {
    return null
  }
}

class Heap<T> {
  readonly #items: T[] = []
  readonly #compare: (a: T, b: T) => number

  constructor(compare: (a: T, b: T) => number) {
    this.#compare = compare
  }

  push(item: T): void {
    const items = this.#items
    let at = items.length
    items.push(item)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#compare(item, items[parent]!) >= 0) break
      items[at] = items[parent]!
      at = parent
    }
    items[at] = item
  }

  pop(): T | undefined {
    const items = this.#items
    const top = items[0]
    const moved = items.pop()
    if (top === undefined || moved === undefined || items.length === 0) return top
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && this.#compare(items[child + 1]!, items[child]!) < 0) child += 1
      if (this.#compare(moved, items[child]!) <= 0) break
      items[at] = items[child]!
      at = child
    }
    items[at] = moved
    return top
  }
}
