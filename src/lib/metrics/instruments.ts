/** One metric with its samples, as `/metrics` writes it. */
export interface MetricFamily {
  /** `automatos_runs_waiting` */
  name: string
  help: string
  type: 'gauge' | 'counter' | 'histogram'
  /** `suffix` names the parts of a histogram: `_bucket`, `_sum`, `_count`. */
  samples: { suffix?: string; labels?: Record<string, string>; value: number }[]
}

/** Label values come from the product, but for a few that tenants choose (models): beyond this many series they share one. */
const maxSeries = 200
const overflow = 'other'

abstract class Instrument<Series> {
  readonly name: string
  readonly help: string
  readonly labelNames: readonly string[]
  protected readonly series = new Map<string, { labels: readonly string[]; series: Series }>()

  constructor(name: string, help: string, labelNames: readonly string[]) {
    this.name = name
    this.help = help
    this.labelNames = labelNames
  }

  protected abstract create(): Series

  protected seriesOf(labels: readonly string[]): Series {
    const key = labels.length === 1 ? labels[0]! : labels.join('\0')
    const known = this.series.get(key)
    if (known) return known.series
    if (this.series.size >= maxSeries && labels.some((label) => label !== overflow)) {
      return this.seriesOf(labels.map(() => overflow))
    }
    const series = this.create()
    this.series.set(key, { labels, series })
    return series
  }

  protected labelsOf(values: readonly string[]): Record<string, string> {
    return Object.fromEntries(this.labelNames.map((name, index) => [name, values[index] ?? '']))
  }
}

/** Only ever grows. */
export class Counter extends Instrument<{ value: number }> {
  protected create() {
    return { value: 0 }
  }

  add(value: number, ...labels: string[]): void {
    this.seriesOf(labels).value += value
  }

  family(): MetricFamily {
    const samples = [...this.series.values()].map(({ labels, series }) => ({
      labels: this.labelsOf(labels),
      value: series.value,
    }))
    // What has no labels is known to be zero before its first event; a series that nobody has met is not made up.
    if (samples.length === 0 && this.labelNames.length === 0) samples.push({ labels: {}, value: 0 })
    return { name: this.name, help: this.help, type: 'counter', samples }
  }
}

interface Distribution {
  counts: Float64Array
  sum: number
  count: number
}

/** How values spread over fixed bounds; what lies above the last is in the count alone. */
export class Histogram extends Instrument<Distribution> {
  readonly #bounds: readonly number[]

  constructor(name: string, help: string, labelNames: readonly string[], bounds: readonly number[]) {
    super(name, help, labelNames)
    this.#bounds = bounds
  }

  protected create(): Distribution {
    return { counts: new Float64Array(this.#bounds.length), sum: 0, count: 0 }
  }

  observe(value: number, ...labels: string[]): void {
    const series = this.seriesOf(labels)
    series.count++
    series.sum += value
    const at = bucketOf(this.#bounds, value)
    if (at < this.#bounds.length) series.counts[at]!++
  }

  family(): MetricFamily {
    const samples = [...this.series.values()].flatMap(({ labels, series }) =>
      bucketSamples(this.labelsOf(labels), this.#bounds, series),
    )
    return { name: this.name, help: this.help, type: 'histogram', samples }
  }
}

/** Index of the first bound that is not below the value. */
export function bucketOf(bounds: readonly number[], value: number): number {
  let at = 0
  while (at < bounds.length && value > bounds[at]!) at++
  return at
}

/** Buckets are cumulative on the wire: each counts all up to its bound. */
export function bucketSamples(
  labels: Record<string, string>,
  bounds: readonly number[],
  { counts, sum, count }: Distribution,
): MetricFamily['samples'] {
  let upTo = 0
  return [
    ...bounds.map((bound, index) => {
      upTo += counts[index]!
      return { suffix: '_bucket', labels: { ...labels, le: String(bound) }, value: upTo }
    }),
    { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count },
    { suffix: '_sum', labels, value: sum },
    { suffix: '_count', labels, value: count },
  ]
}

/** A value that goes up and down by what happens. */
export class Level {
  readonly name: string
  readonly help: string
  value = 0

  constructor(name: string, help: string) {
    this.name = name
    this.help = help
  }

  family(): MetricFamily {
    return { name: this.name, help: this.help, type: 'gauge', samples: [{ value: this.value }] }
  }
}
