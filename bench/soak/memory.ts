import { readFileSync } from 'node:fs'
import { median } from '../result.ts'

export interface Sample {
  atMs: number
  mb: number
}
export interface MemoryVerdict {
  startMb: number
  endMb: number
  /** By the slope, from the first to the last sample. */
  grownMb: number
  noiseMb: number
  isGrowing: boolean
}

/**
 * Whether a process grows: the slope of the later half of the samples, which no single spike bends (Theil and Sen: the median
 * of the slopes between all pairs), against how far the samples lie from that line. The earlier half is where caches fill and
 * code is compiled; a leak goes on behind it.
 */
export function judgeMemory(samples: readonly Sample[], toleratedShare: number): MemoryVerdict {
  const half = Math.floor(samples.length / 2)
  const [earlier, later] = [samples.slice(0, half), samples.slice(half)]
  const slope = slopeOf(later)
  const spanMs = later.at(-1)!.atMs - later[0]!.atMs
  const offset = median(later.map(({ atMs, mb }) => mb - slope * atMs))
  // 1.4826 makes of a median deviation what a standard deviation is for noise of the normal kind.
  const noiseMb = 1.4826 * median(later.map(({ atMs, mb }) => Math.abs(mb - slope * atMs - offset)))
  const grownMb = slope * spanMs
  const startMb = median(earlier.map(({ mb }) => mb))
  const endMb = median(later.map(({ mb }) => mb))
  // What three times the noise, or a share of all there is, explains is not told from the work of a collector.
  const explained = Math.max(3 * noiseMb, toleratedShare * startMb)
  return { startMb, endMb, grownMb, noiseMb, isGrowing: grownMb > explained && endMb > startMb + explained / 2 }
}

/** Megabytes a millisecond. */
function slopeOf(samples: readonly Sample[]): number {
  // Pairs of every n-th: of thousands of samples all pairs would be millions.
  const step = Math.max(1, Math.floor(samples.length / 300))
  const few = samples.filter((_, n) => n % step === 0)
  const slopes = few.flatMap((a, n) => few.slice(n + 1).map((b) => (b.mb - a.mb) / (b.atMs - a.atMs)))
  return median(slopes)
}

/** What a process occupies; null once it has ended. */
export function residentMb(pid: number): number | null {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) / 1024
  } catch {
    return null
  }
}
