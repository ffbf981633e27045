import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { expect, test } from 'vitest'
import type { Pass } from '../../src/runtime/workers/alarm-worker.ts'
import { probes } from './support/worker.ts'

const inAWhile = 3_600_000

/** An object of its own. Its pass waits to be run by the test, because the first poke is far away. */
function probe(pass: Pass) {
  const id = env.PROBE.newUniqueId()
  probes.set(id.toString(), pass)
  const stub = env.PROBE.get(id)
  const alarmAt = () => runInDurableObject(stub, (_, state) => state.storage.getAlarm())
  return { stub, alarmAt, runAlarm: () => runDurableObjectAlarm(stub) }
}
/** For use within a pass: a stub belongs to the context that made it. */
const self = (owner: string) => env.PROBE.get(env.PROBE.idFromString(owner))
const nothing = { done: 0, more: false }

test('a poke sets the alarm, and an earlier one stands', async () => {
  const { stub, alarmAt } = probe(async () => nothing)
  expect(await alarmAt()).toBeNull()
  await stub.poke(inAWhile)
  const first = await alarmAt()
  await stub.poke(2 * inAWhile)
  expect(await alarmAt()).toBe(first)
  await stub.poke(inAWhile / 2)
  expect(await alarmAt()).toBeLessThan(first!)
})

test('an alarm does one pass and then rests until someone pokes', async () => {
  let passes = 0
  const { stub, alarmAt, runAlarm } = probe(async () => {
    passes++
    return nothing
  })
  await stub.poke()
  await expect.poll(() => passes).toBe(1)
  await expect.poll(alarmAt).toBeNull()
  expect(await runAlarm()).toBe(false)
})

test('a pass that knows of later work is called for it, also when another one came between', async () => {
  const reports = [{ ...nothing, nextInMs: inAWhile }, nothing]
  const { stub, alarmAt } = probe(async () => reports.shift()!)
  await stub.poke()
  await expect.poll(() => reports.length).toBe(1)
  await expect.poll(async () => ((await alarmAt()) ?? 0) > Date.now() + inAWhile / 2).toBe(true)
  const planned = await alarmAt()
  await stub.poke()
  await expect.poll(() => reports.length).toBe(0)
  await expect.poll(alarmAt).toBe(planned)
})

test('a pass that is not finished is called again at once', async () => {
  const reports = [{ done: 1, more: true }, { done: 1, more: true }, nothing]
  const { stub, alarmAt } = probe(async () => reports.shift()!)
  await stub.poke()
  await expect.poll(() => reports.length).toBe(0)
  await expect.poll(alarmAt).toBeNull()
})

test('a failing pass re-arms its alarm, says so, and is forgotten after a success', async () => {
  let broken = true
  const { stub, alarmAt, runAlarm } = probe(async () => {
    if (broken) throw new Error('the database is away')
    return nothing
  })
  await stub.poke(inAWhile)
  await runAlarm()
  expect(await stub.status()).toMatchObject({ failures: 1, lastError: 'the database is away' })
  expect(await alarmAt()).toBeLessThan(Date.now() + 60_001)
  broken = false
  await expect.poll(async () => (await runAlarm(), (await stub.status()).failures)).toBe(0)
  expect(await stub.status()).toMatchObject({ lastError: null })
})

test('while a pass runs an alarm stands, so that not even a killed object ends the chain', async () => {
  let during: number | null = null
  const { stub, alarmAt } = probe(async (_, owner) => {
    during = (await self(owner).status()).nextPassAt
    return nothing
  })
  await stub.poke()
  await expect.poll(() => during).toBeGreaterThan(Date.now() + 15 * 60_000)
  await expect.poll(alarmAt).toBeNull()
})

test('a poke that comes during a pass leads to another pass', async () => {
  let passes = 0
  const { stub, alarmAt } = probe(async (_, owner) => {
    passes++
    if (passes === 1) await self(owner).poke()
    return nothing
  })
  await stub.poke()
  await expect.poll(() => passes).toBe(2)
  await expect.poll(alarmAt).toBeNull()
})
