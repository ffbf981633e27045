import { expect, test } from 'vitest'
import type { Wake, WakeSignal } from '../../src/context.ts'

export interface WakePair {
  /** Gives signals. */
  sender: Wake
  /** Hears them: the same object, or that of another process. */
  receiver: Wake
}

/** Collects what a wake hears; `until` resolves once a signal satisfies the condition. */
export function hear(wake: Wake) {
  const heard: WakeSignal[] = []
  const waiting = new Set<() => void>()
  const stop = wake.listen((signal) => {
    heard.push(signal)
    for (const check of waiting) check()
  })
  return {
    heard,
    stop,
    until: (condition: (heard: WakeSignal[]) => boolean) =>
      new Promise<void>((resolve) => {
        const check = () => {
          if (!condition(heard)) return
          waiting.delete(check)
          resolve()
        }
        waiting.add(check)
        check()
      }),
  }
}

/** The contract of wake-ups, within a process and between two. */
export function describeWake(open: () => Promise<WakePair>) {
  test('every kind of signal arrives, with its run', async () => {
    const { sender, receiver } = await open()
    const { heard, until } = hear(receiver)
    sender.runReady('r1')
    sender.command('r2')
    sender.events('r3')
    sender.schedulesChanged()
    await until((all) => all.length >= 4)
    expect(heard).toEqual(
      expect.arrayContaining([
        { kind: 'run-ready', runId: 'r1' },
        { kind: 'command', runId: 'r2' },
        { kind: 'events', runId: 'r3' },
        { kind: 'schedules-changed' },
      ]),
    )
    expect(heard).toHaveLength(4)
  })

  test('every listener hears it, and none after it has left', async () => {
    const { sender, receiver } = await open()
    const [first, second] = [hear(receiver), hear(receiver)]
    sender.runReady('r1')
    await Promise.all([first.until((all) => all.length > 0), second.until((all) => all.length > 0)])
    first.stop()
    sender.runReady('r2')
    await second.until((all) => all.length > 1)
    expect(first.heard).toEqual([{ kind: 'run-ready', runId: 'r1' }])
  })

  test('a listener that throws keeps the others from nothing', async () => {
    const { sender, receiver } = await open()
    receiver.listen(() => {
      throw new Error('boom')
    })
    const { until } = hear(receiver)
    sender.events('r1')
    await until((all) => all.length > 0)
  })
}
