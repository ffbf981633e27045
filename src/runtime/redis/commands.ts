import { toHex } from '../../lib/hex.ts'
import { StoreReplyError } from '../guard.ts'

/**
 * A Redis, however it is reached. Rejects with StoreReplyError where the command was wrong, with anything else where Redis
 * could not be asked or cannot serve now.
 */
export interface RedisCommands {
  command(args: string[]): Promise<unknown>
}

// Other things may live in the same Redis.
export const keyPrefix = 'automatos:'

/** An error reply. Of a Redis that loads, is full, read-only or wants another password it is like no answer at all. */
export const replyError = (message: string): Error =>
  /\b(?:ERR|WRONGTYPE|NOSCRIPT)\b/.test(message) ? new StoreReplyError(message) : new Error(message)

/** Runs a script by its hash; its text travels only where Redis does not have it yet. */
export function createScript(text: string) {
  let hash: string | undefined
  return async (redis: RedisCommands, key: string, args: string[]): Promise<unknown> => {
    hash ??= toHex(new Uint8Array(await crypto.subtle.digest('SHA-1', new TextEncoder().encode(text))))
    try {
      return await redis.command(['EVALSHA', hash, '1', key, ...args])
    } catch (error) {
      if (!(error instanceof StoreReplyError) || !error.message.includes('NOSCRIPT')) throw error
      return redis.command(['EVAL', text, '1', key, ...args])
    }
  }
}
