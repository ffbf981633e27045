import type { Fault } from '../../../lib/errors.ts'
import { shortPointer } from '../../../lib/pointer.ts'

const maxFaults = 200
const maxDetail = 1_000

/**
 * The first faults of a definition, each once. A hostile one has tens of thousands, and names as long as the document in
 * every pointer: what is looked for beyond these would be thrown away.
 */
export class FaultList {
  readonly faults: Fault[] = []
  /** Details by pointer: the same one stands for all that a field has, and is gone through once. */
  readonly #known = new Map<string, Set<string>>()

  get isFull(): boolean {
    return this.faults.length >= maxFaults
  }

  add(faults: Iterable<Fault>): void {
    for (const { pointer, detail } of faults) {
      if (this.isFull) return
      const known = this.#known.get(pointer) ?? new Set()
      this.#known.set(pointer, known)
      if (known.has(detail)) continue
      known.add(detail)
      const shown = detail.length > maxDetail ? `${detail.slice(0, maxDetail)}…` : detail
      this.faults.push({ pointer: shortPointer(pointer), detail: shown })
    }
  }

  has(pointer: string): boolean {
    return this.#known.has(pointer)
  }
}
