import postgres from 'postgres'
import type { ComponentHealth, Log, WakeSignal } from '../../context.ts'
import { createLocalWake, type LocalWake } from '../local-wake.ts'
import type { PostgresConnector } from './postgres.ts'
import { everySignal, readPayload, WakeBatch } from './wake-batch.ts'

const channel = 'automatos_wake'
/** At most one NOTIFY a process in this time: its commit takes a lock that all of the server's databases share. */
const notifyEveryMs = 20
/** A dead peer says nothing, so the listening connection proves itself at this interval. */
const proveEveryMs = 30_000
const answerWithinMs = 10_000
const maxBackoffMs = 2_000

export interface ListenWake extends LocalWake {
  probe(): Promise<ComponentHealth>
  /** Resolves once the server listens for us, so that a signal of another process will be heard. */
  listening(): Promise<void>
  close(): Promise<void>
}

/**
 * Wake-ups between processes by LISTEN and NOTIFY on one connection of its own, made again whenever it breaks. Own
 * signals are delivered in process at once; their echo is dropped.
 */
export function createListenWake(connect: PostgresConnector, log: Log): ListenWake {
  const self = crypto.randomUUID()
  let batch = new WakeBatch()
  let timer: ReturnType<typeof setTimeout> | undefined
  let sending = false
  let sentAt = -Infinity
  let client: postgres.Sql | null = null
  let closed = false
  let interrupt = () => {}
  const ready = createGate()

  const local = createLocalWake(log, (signal: WakeSignal) => {
    batch.add(signal)
    arrange()
  })

  function arrange() {
    if (timer !== undefined || sending || closed || batch.empty) return
    timer = setTimeout(() => void send(), Math.max(0, sentAt + notifyEveryMs - performance.now()))
  }

  async function send() {
    timer = undefined
    const payload = batch.toPayload(self)
    batch = new WakeBatch()
    // Without a connection the hint is lost; the others poll, and look at everything once they are connected again.
    if (!client) return
    sending = true
    sentAt = performance.now()
    try {
      await client`select pg_notify(${channel}, ${payload})`
    } catch (error) {
      log.debug('A wake-up could not be sent', { error })
    } finally {
      sending = false
      arrange()
    }
  }

  async function listenOnce(reconnected: boolean): Promise<void> {
    const lost = createGate()
    const connection = connect({
      max: 1,
      idle_timeout: 0,
      max_lifetime: null,
      onclose: lost.open,
      onnotify: (_channel, payload) => {
        for (const signal of readPayload(payload, self)) local.deliver(signal)
      },
    })
    interrupt = lost.open
    try {
      await connection.unsafe(`listen ${channel}`)
      client = connection
      ready.open()
      if (reconnected) for (const signal of everySignal) local.deliver(signal)
      while (!closed) {
        if (await within(proveEveryMs, lost.opened)) break
        if (!(await within(answerWithinMs, connection`select 1`))) break
      }
    } finally {
      client = null
      await connection.end({ timeout: 0 }).catch(() => {})
    }
  }

  async function keepListening() {
    let failures = 0
    let connectedBefore = false
    while (!closed) {
      try {
        await listenOnce(connectedBefore || failures > 0)
        connectedBefore = true
        failures = 0
        if (!closed) log.warn('The wake connection to PostgreSQL was lost; connecting again')
      } catch (error) {
        failures += 1
        if (!closed) log.warn('The wake connection to PostgreSQL failed', { error, failures })
      }
      if (closed) return
      const backoffMs = Math.min(maxBackoffMs, 100 * 2 ** failures) * (0.5 + Math.random() / 2)
      const wait = createGate()
      interrupt = wait.open
      await within(backoffMs, wait.opened)
    }
  }
  const loop = keepListening()

  return {
    ...local,
    listening: () => ready.opened,
    async probe() {
      if (client) return { status: 'healthy' }
      return { status: 'degraded', detail: 'Not listening to PostgreSQL; work is found by polling.' }
    },
    async close() {
      closed = true
      clearTimeout(timer)
      interrupt()
      await loop
    },
  }
}

/** Whether the promise resolved within the time; a rejection counts as resolved, its cause shows elsewhere. */
async function within(ms: number, promise: PromiseLike<unknown>): Promise<boolean> {
  const late = createGate()
  const timer = setTimeout(late.open, ms)
  try {
    const settled = () => true
    return await Promise.race([promise.then(settled, settled), late.opened.then(() => false)])
  } finally {
    clearTimeout(timer)
  }
}

/** A promise that is resolved from outside. */
function createGate(): { opened: Promise<void>; open: () => void } {
  let open = () => {}
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}
