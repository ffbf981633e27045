/** What happens to a fixed local time that a clock change removes (gap) or repeats (fold). */
export interface DstPolicy {
  /** `shift` fires at the first valid instant after the gap, `skip` leaves the slot out. */
  gap: 'shift' | 'skip'
  /** `first` fires on the first occurrence alone, `both` on each. */
  fold: 'first' | 'both'
}

/** When a schedule is due: everything its slots depend on. Exactly one of `cron` and `interval` is set. */
export interface SlotSpec {
  cron?: string | null
  /** Seconds between slots, counted from `anchor`. */
  interval?: number | null
  /** Slots of an interval are `anchor + n × interval`, n ≥ 0. */
  anchor?: Date | null
  /** IANA name. */
  zone: string
  dst: DstPolicy
  /** No slot before it. */
  start?: Date | null
  /** No slot at or after it. */
  end?: Date | null
}
