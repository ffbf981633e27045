/** Calls the address now and at each full minute, as a cron trigger does. */
export function callEachMinute(address: string, failed: (reason: string) => void): { stop(): void } {
  const stopped = new AbortController()
  let timer: ReturnType<typeof setTimeout>
  const call = async () => {
    timer = setTimeout(call, 60_000 - (Date.now() % 60_000))
    try {
      const response = await fetch(address, { signal: stopped.signal })
      const text = await response.text()
      if (!response.ok) failed(`${response.status} ${text}`.trim())
    } catch (error) {
      if (!stopped.signal.aborted) failed((error as Error).message)
    }
  }
  void call()
  return {
    stop() {
      clearTimeout(timer)
      stopped.abort()
    },
  }
}
