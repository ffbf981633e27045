import { readFile } from 'node:fs/promises'
import { Agent, get, type IncomingMessage } from 'node:http'
import { afterAll, expect, test } from 'vitest'
import { createTestDatabase } from '../support/database.ts'
import { expectWholeRuns } from '../support/invariants.ts'
import { Cluster } from './support/cluster.ts'

const followerCount = 1_000
const items = 40
/** Of a process that serves half of them. */
const mostMemoryMb = 600

const database = await createTestDatabase()
const cluster = new Cluster(database.url!)
const agent = new Agent({ keepAlive: false, maxSockets: Infinity })
afterAll(async () => {
  agent.destroy()
  await cluster.close()
  await database.close()
})
const { db } = database

test('a thousand followers of one run on two replicas see every event once, though each goes over to the other replica in the middle', async () => {
  const servers = [await cluster.start(), await cluster.start()]
  await Promise.all(servers.map((server) => server.ready))
  const api = (method: string, path: string, body?: unknown) => cluster.request(() => servers, method, path, body)
  const steps = [
    { id: 'there', kind: 'wait', event: 'all-there' },
    {
      id: 'each',
      kind: 'foreach',
      items: Array.from({ length: items }, (_, n) => n),
      as: 'item',
      concurrency: 1,
      steps: [
        { id: 'say', kind: 'transform', value: { $expr: 'item' } },
        { id: 'rest', kind: 'wait', duration: '50ms' },
      ],
    },
  ]
  expect((await api('POST', '/api/workflow-recipes', { name: 'Talk', slug: 'talk', steps })).status).toBe(201)
  const id = (await api('POST', '/api/workflow-recipes/talk/execute')).body['id'] as string

  let connected = 0
  const followers = Array.from({ length: followerCount }, (_, nth) => {
    const [first, second] = nth % 2 === 0 ? servers : servers.toReversed()
    return follow({
      path: `/api/executions/${id}/events`,
      urls: [first!.url, second!.url],
      // Spread over the middle of the log, so that some leave while others come.
      leaveAt: 10 + (nth % 100),
      onConnected: () => connected++,
    })
  })
  const all = Promise.all(followers)
  // A follower that breaks ends the test at once.
  const broken = all.then(() => new Promise<never>(() => {}))
  await Promise.race([expect.poll(() => connected, { timeout: 60_000 }).toBe(followerCount), broken])
  expect((await api('POST', `/api/executions/${id}/signals`, { name: 'all-there' })).status).toBeLessThan(300)
  const seen = await all

  await expectWholeRuns(db, [id])
  const log = await db
    .selectFrom('run_events')
    .select(['seq', 'type'])
    .where('run_id', '=', id)
    .orderBy('seq')
    .execute()
  expect(log.length).toBeGreaterThan(3 * items)
  const whole = log.map(({ seq, type }) => `${seq} ${type}`).join()
  expect(seen.filter((each) => each.join() !== whole)).toEqual([])
  const memory = await Promise.all(servers.map(({ pid }) => residentMb(pid)))
  console.log(
    `followers: ${followerCount} of ${log.length} events each, ${memory.join(' and ')} MB in the two processes`,
  )
  for (const mb of memory) expect(mb).toBeLessThan(mostMemoryMb)
})

/** Every event that one follower has seen, as `seq type`. It leaves the first stream behind `leaveAt`, and ends with the second. */
async function follow(options: { path: string; urls: [string, string]; leaveAt: number; onConnected: () => void }) {
  const seen: string[] = []
  let last = 0
  for (const [nth, url] of options.urls.entries()) {
    const response = await open(url + options.path, last)
    expect(response.statusCode).toBe(200)
    if (nth === 0) options.onConnected()
    let rest = ''
    for await (const part of response.setEncoding('utf8')) {
      const blocks = (rest + part).split('\n\n')
      rest = blocks.pop()!
      for (const block of blocks) {
        const event = /^id: (\d+)\nevent: (\S+)$/m.exec(block)
        if (!event) continue
        last = Number(event[1])
        seen.push(`${last} ${event[2]}`)
      }
      // What has come behind it in the same part is seen as well: the next stream goes on behind the last.
      if (nth === 0 && last >= options.leaveAt) break
    }
  }
  return seen
}

const open = (url: string, last: number) =>
  new Promise<IncomingMessage>((resolve, reject) => {
    const headers = { 'x-api-key': cluster.adminKey, ...(last > 0 && { 'last-event-id': String(last) }) }
    get(url, { agent, headers }, resolve).on('error', reject)
  })

async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Math.round(Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) / 1024)
}
