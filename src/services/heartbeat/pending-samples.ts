import type { ComponentHealth } from '../../context.ts'

/** Samples that come closer together than this share an entry. */
const entryMs = 60_000
/** A day of them; what is older than that when the database comes back stays unknown. */
const mostEntries = 1_440

type Counts = Record<ComponentHealth['status'], number>
export interface PendingEntry {
  atMs: number
  counts: Map<string, Counts>
}

/**
 * What was measured and is not stored yet. While the database is away nothing can be written, and that is what its
 * availability must show afterwards.
 */
export class PendingSamples {
  #entries: PendingEntry[] = []

  add(components: Record<string, ComponentHealth>, atMs: number): void {
    let last = this.#entries.at(-1)
    if (!last || atMs - last.atMs >= entryMs) {
      last = { atMs, counts: new Map() }
      this.#entries.push(last)
      if (this.#entries.length > mostEntries) this.#entries.shift()
    }
    for (const [component, { status }] of Object.entries(components)) {
      const counts = last.counts.get(component) ?? { healthy: 0, degraded: 0, unhealthy: 0 }
      counts[status] += 1
      last.counts.set(component, counts)
    }
  }

  /** Hands over everything; whoever fails to store it gives it back. */
  take(): PendingEntry[] {
    const taken = this.#entries
    this.#entries = []
    return taken
  }

  giveBack(entries: PendingEntry[]): void {
    this.#entries = [...entries, ...this.#entries].slice(-mostEntries)
  }
}
