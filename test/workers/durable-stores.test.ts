import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/runtime/clock.ts'
import { createGuard } from '../../src/runtime/guard.ts'
import { KvShard } from '../../src/runtime/workers/kv-shard.ts'
import { LimiterShard } from '../../src/runtime/workers/limiter-shard.ts'
import { createDurableKv, createDurableLimiter } from '../../src/runtime/workers/shared-store.ts'
import { describeKv } from '../runtime/kv.suite.ts'
import { describeLimiter } from '../runtime/limiter.suite.ts'
import { newCorner } from '../support/corner.ts'
import { createTestLog } from '../support/log.ts'

const guard = createGuard({ clock: systemClock, log: createTestLog() }, { name: 'A shard', timeoutMs: 10_000 })

/** Objects of a store's own. Notes which it asks for, and moves their time. */
function watched<T extends typeof env.KV | typeof env.LIMITER>(objects: T) {
  const ids = new Map<string, DurableObjectId>()
  const corner = newCorner()
  let aheadMs = 0
  return {
    objects: {
      idFromName(name: string) {
        const id = objects.idFromName(`${name}-${corner}`)
        ids.set(name, id)
        return id
      },
      get: (id: DurableObjectId) => objects.get(id),
    } as unknown as T,
    async pass(seconds: number) {
      aheadMs += seconds * 1000
      for (const id of ids.values()) {
        await runInDurableObject(objects.get(id) as DurableObjectStub<KvShard | LimiterShard>, (shard) => {
          shard.now = () => Date.now() + aheadMs
        })
      }
    },
  }
}

describe('port:kv adapter:durable-object', () =>
  describeKv(() => {
    const { objects, pass } = watched(env.KV)
    const open = () => createDurableKv(objects, guard)
    return { one: open(), other: open(), pass }
  }))

describe('port:limiter adapter:durable-object', () =>
  describeLimiter(() => {
    const { objects, pass } = watched(env.LIMITER)
    const open = () => createDurableLimiter(objects, guard)
    return { one: open(), other: open(), pass }
  }))

const rowsOf = (stub: DurableObjectStub<KvShard | LimiterShard>, table: string) =>
  runInDurableObject(stub, (_, state) => state.storage.sql.exec(`select key from ${table}`).toArray().length)

describe('a shard of the limiter', () => {
  const stub = () => env.LIMITER.get(env.LIMITER.newUniqueId()) as DurableObjectStub<LimiterShard>
  /** What the object would be after an eviction: its storage, and none of its memory. */
  const afterEviction = <R>(object: DurableObjectStub<LimiterShard>, look: (shard: LimiterShard) => R) =>
    runInDurableObject(object, (_, state) => look(new LimiterShard(state, env)))

  test('remembers what was counted beyond an eviction, once it is written', async () => {
    const object = stub()
    for (let i = 0; i < 5; i++) await object.take('k', 5, 3600)
    await runDurableObjectAlarm(object)
    expect(await rowsOf(object, 'windows')).toBe(1)
    expect(await afterEviction(object, (shard) => shard.take('k', 5, 3600).allowed)).toBe(false)
    expect((await object.take('k', 5, 3600)).allowed).toBe(false)
  })

  test('goes on counting from what was written', async () => {
    const object = stub()
    expect((await object.take('k', 3, 3600)).remaining).toBe(2)
    await runDurableObjectAlarm(object)
    expect((await object.take('k', 3, 3600)).remaining).toBe(1)
    await runDurableObjectAlarm(object)
    expect((await object.take('k', 3, 3600)).remaining).toBe(0)
    expect((await object.take('k', 3, 3600)).allowed).toBe(false)
  })

  test('keeps no row of a window that is over, and rests when there is none', async () => {
    const object = stub()
    await object.take('k', 3, 60)
    await runDurableObjectAlarm(object)
    expect(await runInDurableObject(object, (_, state) => state.storage.getAlarm())).not.toBeNull()
    await runInDurableObject(object, (shard) => {
      shard.now = () => Date.now() + 3_600_000
    })
    await runDurableObjectAlarm(object)
    expect(await rowsOf(object, 'windows')).toBe(0)
    expect(await runInDurableObject(object, (_, state) => state.storage.getAlarm())).toBeNull()
  })

  test('on a machine whose clock is behind it refuses no more than before', async () => {
    const object = stub()
    await object.take('k', 10, 60)
    await runInDurableObject(object, (shard) => {
      shard.now = () => Date.now() - 3_600_000
    })
    expect(await object.take('k', 10, 60)).toEqual({ allowed: true, limit: 10, remaining: 8, resetSeconds: 60 })
  })
})

describe('a shard of the kv', () => {
  const stub = () => env.KV.get(env.KV.newUniqueId()) as DurableObjectStub<KvShard>

  test('keeps its values beyond an eviction', async () => {
    const object = stub()
    await object.set('k', 'v', 60)
    expect(await runInDurableObject(object, (_, state) => new KvShard(state, env).get('k'))).toBe('v')
  })

  test('keeps no row of a value that has ended, and rests when there is none', async () => {
    const object = stub()
    await object.set('short', 'v', 60)
    await object.set('long', 'v', 7200)
    const ahead = (seconds: number) =>
      runInDurableObject(object, (shard) => {
        shard.now = () => Date.now() + seconds * 1000
      })
    await ahead(3600)
    await runDurableObjectAlarm(object)
    expect(await rowsOf(object, 'entries')).toBe(1)
    await ahead(8000)
    await runDurableObjectAlarm(object)
    expect(await rowsOf(object, 'entries')).toBe(0)
    expect(await runInDurableObject(object, (_, state) => state.storage.getAlarm())).toBeNull()
  })
})
