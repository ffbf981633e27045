const { setImmediate } = globalThis as { setImmediate?: (callback: () => void) => unknown }

/** Resolves in the next turn of the event loop: whatever can go on without waiting has done so by then. */
export const nextTurn = (): Promise<void> =>
  new Promise((resolve) => {
    // Workers have no setImmediate; everywhere else it is sooner than a timer.
    if (setImmediate) setImmediate(resolve)
    else setTimeout(resolve)
  })
