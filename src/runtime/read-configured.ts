import type { ReadConfigured } from '../context.ts'

const timeoutMs = 5_000
// A key set is a few kilobytes.
const maxBytes = 256 * 1024

/** The same on every platform: no redirect is followed, so the operator's address is the one that answers. */
export const readConfigured: ReadConfigured = async (url) => {
  const response = await fetch(url, {
    headers: { accept: 'application/json' },
    redirect: 'manual',
    signal: AbortSignal.timeout(timeoutMs),
  })
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel()
    throw new Error(`${new URL(url).host} answered with status ${response.status}`)
  }
  const chunks: Uint8Array[] = []
  let length = 0
  const reader = response.body.getReader()
  for (;;) {
    const { done, value } = await reader.read()
    if (done) break
    length += value.byteLength
    if (length > maxBytes) {
      await reader.cancel()
      throw new Error(`${new URL(url).host} answered with more than ${maxBytes} bytes`)
    }
    chunks.push(value)
  }
  return new Blob(chunks as Uint8Array<ArrayBuffer>[]).text()
}
