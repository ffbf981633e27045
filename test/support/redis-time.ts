import type { RedisCommands } from '../../src/runtime/redis/commands.ts'

/**
 * Time goes on for the keys of one corner, and for them alone: lives get shorter and windows began earlier. Redis's own
 * clock decides, and nobody can set it.
 */
export async function passInRedis({ command }: RedisCommands, corner: string, seconds: number): Promise<void> {
  const keys = (await command(['KEYS', `automatos:*:${corner}:*`])) as string[]
  for (const key of keys) {
    const leftMs = Number(await command(['PTTL', key])) - seconds * 1000
    if (leftMs <= 0) {
      await command(['DEL', key])
      continue
    }
    await command(['PEXPIRE', key, String(leftMs)])
    if (key.startsWith('automatos:limit:')) await command(['HINCRBY', key, 'start', String(-seconds * 1000)])
  }
}
