interface Waiting {
  bytes: number
  enter: () => void
}

/**
 * Bytes that one process holds at a time, whoever asks for them. A workspace may hold half of the room, and those that wait
 * are let in by turns of their workspaces, each in its own order: a large one is passed by nobody for ever.
 */
export class ByteGate {
  readonly #room: number
  readonly #held = new Map<string, number>()
  readonly #waiting = new Map<string, Waiting[]>()
  #total = 0

  constructor(room: number) {
    this.#room = room
  }

  /** Does the work once there is room for its bytes, and holds them until it is done. Throws the signal's reason while it waits. */
  async hold<T>(workspaceId: string, bytes: number, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    if (bytes === 0) return work()
    await this.#enter(workspaceId, bytes, signal)
    try {
      return await work()
    } finally {
      this.#count(workspaceId, -bytes)
      this.#letIn()
    }
  }

  #enter(workspaceId: string, bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    return new Promise((resolve, reject) => {
      const leave = () => {
        const line = (this.#waiting.get(workspaceId) ?? []).filter((other) => other !== one)
        if (line.length > 0) this.#waiting.set(workspaceId, line)
        else this.#waiting.delete(workspaceId)
        reject(signal.reason)
        this.#letIn()
      }
      const enter = () => {
        signal.removeEventListener('abort', leave)
        resolve()
      }
      const one = { bytes, enter }
      signal.addEventListener('abort', leave, { once: true })
      this.#waiting.set(workspaceId, [...(this.#waiting.get(workspaceId) ?? []), one])
      this.#letIn()
    })
  }

  #letIn(): void {
    // Whoever is let in goes to the end of the map, which this loop comes to again.
    for (const [workspaceId, [first, ...others]] of this.#waiting) {
      const held = this.#held.get(workspaceId) ?? 0
      if (held > 0 && held + first!.bytes > this.#room / 2) continue
      if (this.#total > 0 && this.#total + first!.bytes > this.#room) return
      this.#waiting.delete(workspaceId)
      if (others.length > 0) this.#waiting.set(workspaceId, others)
      this.#count(workspaceId, first!.bytes)
      first!.enter()
    }
  }

  #count(workspaceId: string, by: number): void {
    this.#total += by
    const held = (this.#held.get(workspaceId) ?? 0) + by
    if (held === 0) this.#held.delete(workspaceId)
    else this.#held.set(workspaceId, held)
  }
}
