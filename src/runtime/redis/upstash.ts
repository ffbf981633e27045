import { Redis, errors } from '@upstash/redis/cloudflare'
import { replyError, type RedisCommands } from './commands.ts'

/** Redis over HTTP: its variant for Workers needs nothing but fetch, so it serves everywhere. No socket is held. */
export function createUpstashCommands({ url, token }: { url: string; token: string }, timeoutMs = 500): RedisCommands {
  const redis = new Redis({
    url,
    token,
    signal: () => AbortSignal.timeout(timeoutMs),
    // Whoever calls decides about a second try: one that only looked lost would count twice.
    retry: { retries: 0 },
    automaticDeserialization: false,
    // A batch would mix requests, which a Worker may not.
    enableAutoPipelining: false,
    enableTelemetry: false,
  })
  return {
    async command([name, ...args]) {
      try {
        return await redis.exec([name!, ...args])
      } catch (error) {
        // Its message repeats the command, and with it the value.
        if (error instanceof errors.UpstashError) throw replyError(error.message.split(', command was:')[0]!)
        throw error
      }
    },
  }
}
