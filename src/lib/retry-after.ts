/**
 * How long a server asks us to wait, in milliseconds: `retry-after-ms`, or Retry-After as seconds or as a date. A date
 * counts from the server's own Date where it sends one, so that a clock that is off here does not matter.
 */
export function parseRetryAfter(headers: Record<string, string>, nowMs: number): number | null {
  const exact = headers['retry-after-ms']
  if (exact !== undefined && /^\d+(\.\d+)?$/.test(exact.trim())) return Math.ceil(Number(exact))
  const text = headers['retry-after']?.trim()
  if (!text) return null
  if (/^\d+(\.\d+)?$/.test(text)) return Math.ceil(Number(text) * 1000)
  const until = Date.parse(text)
  if (Number.isNaN(until)) return null
  const served = Date.parse(headers['date'] ?? '')
  return Math.max(0, until - (Number.isNaN(served) ? nowMs : served))
}
