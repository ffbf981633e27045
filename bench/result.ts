import { appendFileSync } from 'node:fs'

/** What one bench found: a ratio of two things measured in turn in one run, with the figures it was made of. */
export interface BenchResult {
  /** "Durable runs of three steps, 10 in flight" */
  name: string
  /** What the ratio compares: "three commits by hand". */
  against: string
  ratio: number
  goal: { atLeast: number } | { atMost: number } | null
  /** The ratio of each round; the ratio above is their median. */
  rounds: number[]
  /** Absolute figures of this machine, in the median round. */
  figures: Record<string, string>
}

/** Prints a result, and keeps it for `bench/run.ts` where that asks for it. */
export function report(result: BenchResult): void {
  const figures = Object.entries(result.figures).map(([name, value]) => `${name} ${value}`)
  console.log(
    `${result.name}: ${result.ratio.toFixed(2)} of ${result.against} (${goalOf(result)}); ${figures.join(', ')}`,
  )
  if (result.rounds.length > 1) console.log(`  rounds ${result.rounds.map((ratio) => ratio.toFixed(2)).join(' ')}`)
  const file = process.env['BENCH_RESULTS']
  if (file) appendFileSync(file, `${JSON.stringify(result)}\n`)
}

export const goalOf = ({ goal }: Pick<BenchResult, 'goal'>): string =>
  goal === null ? 'no goal' : 'atLeast' in goal ? `goal at least ${goal.atLeast}` : `goal at most ${goal.atMost}`

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

export const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length)

const whole = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 })
export const perSecond = (rate: number, unit: string): string => `${whole.format(rate)} ${unit}/s`
export const milliseconds = (ms: number): string => (ms < 10 ? `${ms.toFixed(2)} ms` : `${whole.format(ms)} ms`)
