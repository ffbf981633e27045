const sampleEveryMs = 250

/**
 * Measures how late a timer comes, because the histogram that Node has for the event loop's lag is not on every runtime.
 * Returns what ends it.
 */
export function sampleEventLoopLag(observe: (lagMs: number) => void): () => void {
  let expectedMs = performance.now() + sampleEveryMs
  const timer = setInterval(() => {
    const nowMs = performance.now()
    observe(Math.max(0, nowMs - expectedMs))
    expectedMs = nowMs + sampleEveryMs
  }, sampleEveryMs)
  timer.unref()
  return () => clearInterval(timer)
}
