const unitMs = { d: 86_400_000, h: 3_600_000, m: 60_000, s: 1000, ms: 1 } as const

const shortForm = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?$/
const isoForm = /^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,3}))?S)?)?$/

/**
 * Milliseconds of `500ms`, `20s`, `1h30m`, `2d` or ISO-8601 `PT20S`; null for anything else.
 * Months and years are refused: their length depends on the calendar. A day is 24 hours.
 */
export function parseDuration(text: string): number | null {
  if (text.length === 0 || text.length > 60) return null
  const short = shortForm.exec(text)
  if (short) return total([short[1], short[2], short[3], short[4], short[5]])
  const iso = isoForm.exec(text)
  if (!iso || !/\d/.test(text) || text.endsWith('T')) return null
  const [, weeks, days, hours, minutes, seconds, fraction] = iso
  return total([String(Number(weeks ?? 0) * 7 + Number(days ?? 0)), hours, minutes, seconds, fraction?.padEnd(3, '0')])
}

function total(parts: (string | undefined)[]): number | null {
  const sizes = [unitMs.d, unitMs.h, unitMs.m, unitMs.s, unitMs.ms]
  const ms = parts.reduce((sum, part, index) => sum + Number(part ?? 0) * (sizes[index] ?? 0), 0)
  return Number.isSafeInteger(ms) ? ms : null
}

/** The shortest text that parseDuration reads back as the same whole milliseconds: `1h30m`, `0s`. */
export function formatDuration(ms: number): string {
  let rest = Math.round(Math.abs(ms))
  if (rest === 0) return '0s'
  let text = ms < 0 ? '-' : ''
  for (const unit of ['d', 'h', 'm', 's', 'ms'] as const) {
    const count = Math.floor(rest / unitMs[unit])
    if (count > 0) text += `${count}${unit}`
    rest -= count * unitMs[unit]
  }
  return text
}
