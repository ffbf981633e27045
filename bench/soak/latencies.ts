/** Times of many requests in a fixed space: buckets that grow by a tenth, so a quantile is exact to that. */
export class Latencies {
  readonly #counts = new Uint32Array(160)
  count = 0

  add(ms: number): void {
    const bucket = ms <= 0.1 ? 0 : Math.ceil(Math.log(ms / 0.1) / Math.log(1.1))
    this.#counts[Math.min(this.#counts.length - 1, bucket)]!++
    this.count++
  }

  quantile(share: number): number {
    let left = Math.ceil(this.count * share)
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count
      if (left <= 0) return 0.1 * 1.1 ** bucket
    }
    return 0
  }
}
