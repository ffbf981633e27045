/** Beats in the time that makes a silent instance stale. */
export const missedBeats = 3
/** Width of a row of samples. */
export const bucketSeconds = 300
/** What availability is told for, in buckets. */
export const windows = [
  { window: '1h', buckets: 12 },
  { window: '24h', buckets: 288 },
  { window: '7d', buckets: 2_016 },
] as const
/** The longest window and a bit. */
export const keepSamplesDays = 8
/** How long an instance that beats no more is shown. */
export const keepInstancesDays = 1
