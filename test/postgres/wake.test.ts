import { sql } from 'kysely'
import postgres from 'postgres'
import { afterAll, describe, expect, onTestFinished, test } from 'vitest'
import { anyRun } from '../../src/lib/any-run.ts'
import { createListenWake } from '../../src/runtime/node/listen-wake.ts'
import { openPostgres } from '../../src/runtime/node/postgres.ts'
import { createTestDatabase } from '../support/database.ts'
import { createTestLog } from '../support/log.ts'
import { openRelay } from '../support/relay.ts'
import { describeWake, hear } from '../runtime/wake.suite.ts'

const database = await createTestDatabase()
afterAll(() => database.close())

/** The wake of one process; two of them on one database stand for two processes. */
async function openWake(url = database.url!) {
  const { db, connect } = await openPostgres(url)
  const log = createTestLog()
  const wake = createListenWake(connect, log)
  await wake.listening()
  onTestFinished(async () => {
    await wake.close()
    await db.destroy()
  })
  return { wake, db, log }
}

describe('port:wake adapter:listen-notify', () => {
  describe('within a process', () => {
    describeWake(async () => {
      const { wake } = await openWake()
      return { sender: wake, receiver: wake }
    })
  })

  describe('between two processes', () => {
    describeWake(async () => {
      const [sender, receiver] = [await openWake(), await openWake()]
      return { sender: sender.wake, receiver: receiver.wake }
    })
  })

  test('own signals come at once and their echo does not come', async () => {
    const { wake } = await openWake()
    const other = await openWake()
    const own = hear(wake)
    wake.runReady('r1')
    expect(own.heard).toEqual([{ kind: 'run-ready', runId: 'r1' }])
    // The other's answer travels the same channel behind our echo, so the echo would have come before it.
    await hear(other.wake).until((all) => all.length > 0)
    other.wake.events('r2')
    await own.until((all) => all.length > 1)
    expect(own.heard).toEqual([
      { kind: 'run-ready', runId: 'r1' },
      { kind: 'events', runId: 'r2' },
    ])
  })

  test('a thousand signals at once travel in a few notifications', async () => {
    const { wake } = await openWake()
    const raw = postgres(database.url!, { max: 1 })
    onTestFinished(() => raw.end())
    const payloads: string[] = []
    let arrived = () => {}
    const lastArrived = new Promise<void>((resolve) => (arrived = resolve))
    await raw.listen('automatos_wake', (payload) => {
      payloads.push(payload)
      if (payload.includes('"last"')) arrived()
    })
    for (let i = 0; i < 1000; i++) wake.runReady(crypto.randomUUID())
    wake.command('last')
    await lastArrived
    expect(payloads.length).toBeLessThanOrEqual(2)
    expect(payloads.join()).toContain(`"r":["${anyRun}"]`)
  })

  test('a broken connection is made again, and then listeners are told to look at everything', async () => {
    const { wake } = await openWake()
    const { heard, until } = hear(wake)
    await sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and query = 'listen automatos_wake' and pid <> pg_backend_pid()`.execute(
      database.db,
    )
    await until((all) => all.some((signal) => signal.kind === 'schedules-changed'))
    expect(heard).toEqual(
      expect.arrayContaining([
        { kind: 'run-ready', runId: anyRun },
        { kind: 'events', runId: anyRun },
      ]),
    )
    expect(await wake.probe()).toEqual({ status: 'healthy' })

    const other = await openWake()
    other.wake.command('r9')
    await until((all) => all.some((signal) => signal.kind === 'command' && signal.runId === 'r9'))
  })

  test('a foreign payload on the channel disturbs nobody', async () => {
    const { wake, db } = await openWake()
    const other = await openWake()
    const { heard, until } = hear(wake)
    await sql`select pg_notify('automatos_wake', 'not ours')`.execute(db)
    other.wake.events('r1')
    await until((all) => all.length > 0)
    expect(heard).toEqual([{ kind: 'events', runId: 'r1' }])
  })

  test('its probe is well while the server is, degraded while it is away, and well again by itself', async () => {
    const relay = await openRelay(database.url!)
    const { wake } = await openWake(relay.url)
    expect(await wake.probe()).toEqual({ status: 'healthy' })
    await relay.cut()
    await expect.poll(() => wake.probe()).toMatchObject({ status: 'degraded' })
    await relay.restore()
    await expect.poll(() => wake.probe(), { timeout: 10_000 }).toEqual({ status: 'healthy' })
  })
})
