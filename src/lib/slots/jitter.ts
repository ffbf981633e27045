/**
 * How long after its slot a schedule fires: between 0 and the whole jitter, always the same for the same schedule and
 * slot, so that any process computes it alike and a fleet of schedules spreads evenly.
 */
export function jitterMs(scheduleId: string, slot: Date, maxSeconds: number): number {
  if (maxSeconds <= 0) return 0
  return Math.floor((hash32(`${scheduleId}|${slot.getTime()}`) / 0x1_0000_0000) * (maxSeconds * 1000 + 1))
}

/** FNV-1a with the finalizer of MurmurHash3, without which neighbouring slots would get neighbouring values. */
function hash32(text: string): number {
  let h = 0x811c9dc5
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}
