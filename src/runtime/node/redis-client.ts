import type { RedisClientType } from 'redis'
import { replyError, type RedisCommands } from '../redis/commands.ts'

const maxReconnectMs = 1_000
// A peer that has vanished without a word is noticed by an unanswered ping: TCP itself would take minutes.
const pingEveryMs = 2_000
const pingTimeoutMs = 2_000

export interface RedisConnection extends RedisCommands {
  close(): void
}

/**
 * One connection for the process, made with the first command. When it is lost it comes back by itself; meanwhile commands
 * fail at once instead of piling up.
 */
export function createRedisConnection(url: string): RedisConnection {
  let client: RedisClientType | undefined
  let newClient: () => RedisClientType
  let isErrorReply: (error: unknown) => error is Error
  let lastError: unknown
  let opening: Promise<unknown> | undefined
  let settled = false
  let closed = false
  let pings: NodeJS.Timeout | undefined

  // The package takes long to load, which a process without Redis is spared.
  const loaded = load()
  loaded.catch(() => {})

  async function load(): Promise<void> {
    const { createClient, ErrorReply } = await import('redis')
    isErrorReply = (error) => error instanceof ErrorReply
    newClient = () => {
      const made: RedisClientType = createClient({
        url,
        disableOfflineQueue: true,
        commandsQueueMaxLength: 10_000,
        // The guard around each call has the time limit.
        commandOptions: { timeout: 0 },
        socket: {
          connectTimeout: 2_000,
          reconnectStrategy: (retries) => Math.min(maxReconnectMs, 50 * 2 ** retries),
        },
      })
      made.on('error', (error: unknown) => (lastError = error))
      return made
    }
  }

  /** Until the first attempt has ended, one way or the other. */
  function open(): Promise<unknown> {
    opening ??= loaded.then(connect).then(() => (settled = true))
    return opening
  }

  function connect(): Promise<unknown> {
    if (closed) return Promise.reject(new Error('The connection was closed.'))
    const first = (client = newClient())
    pings = setInterval(ping, pingEveryMs).unref()
    return new Promise((resolve) => {
      first.once('ready', resolve)
      first.once('error', resolve)
      first.connect().catch(() => {})
    })
  }

  function ping(): void {
    const pinged = client
    if (!pinged?.isReady) return
    const giveUp = setTimeout(() => {
      if (client !== pinged) return
      lastError = new Error('A ping was not answered.')
      client = newClient()
      client.connect().catch(() => {})
      pinged.destroy()
    }, pingTimeoutMs).unref()
    pinged
      .sendCommand(['PING'])
      .catch(() => {})
      .finally(() => clearTimeout(giveUp))
  }

  return {
    async command(args) {
      if (!settled) await open()
      try {
        return await client!.sendCommand(args)
      } catch (error) {
        if (isErrorReply(error)) throw replyError(error.message)
        throw client!.isReady ? error : new Error('There is no connection.', { cause: lastError })
      }
    },
    close() {
      closed = true
      clearInterval(pings)
      client?.destroy()
    },
  }
}
