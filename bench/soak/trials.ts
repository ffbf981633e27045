import { expect } from 'vitest'
import { sql } from 'kysely'
import { pause, type Server } from '../../test/chaos/support/cluster.ts'
import { graceMs, type Place } from './place.ts'
import type { Outage, Traffic } from './traffic.ts'

const awayMs = 5_000
/** Goes at every connection that there is. */
const cuts = 20
/** Within seconds, also on a machine that has other things to do. */
const soonMs = 30_000
/** For what was under way when all was back. */
const afterglowMs = 1_000

interface Answered {
  status: number
  headers: Headers
  body: Record<string, unknown>
}

/** What is done to the replicas under load, and what has to be seen meanwhile. */
export class Trials {
  readonly #place: Place
  readonly #traffic: Traffic

  constructor(place: Place, traffic: Traffic) {
    this.#place = place
    this.#traffic = traffic
  }

  /** Each replica is asked to end and another starts in its place. How long each took to end. */
  async rollingRestart(): Promise<number[]> {
    const { servers, ports, cluster, client } = this.#place
    const resumedBefore = this.#traffic.resumed
    const stops: number[] = []
    for (const [n, port] of ports.entries()) {
      const begunMs = performance.now()
      expect(await servers[n]!.stop()).toBe(0)
      // Answers are cut at the end of the grace alone: this one had nothing left to cut.
      const tookMs = performance.now() - begunMs
      expect(tookMs).toBeLessThan(graceMs - 2_000)
      stops.push(tookMs)
      servers[n] = await cluster.start({ port })
      await servers[n].ready
      await pause(500)
    }
    // Otherwise the restarts have met nothing.
    await until(() => this.#traffic.resumed > resumedBefore, 'a follower that goes on at another replica')
    expect(client.refused).toBeGreaterThan(0)
    expect(client.unaccepted).toBeLessThan(10 * stops.length)
    return stops
  }

  /** Limits let everything pass meanwhile, and are shared again. How long until they were. */
  async redisRestart(): Promise<number> {
    const { servers, redis } = this.#place
    const limited = [200, 200, 200, 200, 429, 429]
    expect(await this.#spend(6)).toEqual(limited)
    await until(async () => (await this.#overall()).every((status) => status === 'healthy'), 'health')
    await redis.stop()
    const stoppedAt = performance.now()
    expect(await this.#spend(12)).toEqual(Array.from({ length: 12 }, () => 200))
    for (const server of servers) {
      const health = await this.#get(server, '/health')
      expect(health.status).toBe(200)
      expect(health.body).toMatchObject({ status: 'degraded', components: { limiter: { status: 'degraded' } } })
      expect((await this.#get(server, '/health/ready')).status).toBe(200)
    }
    await this.#progress()
    await pause(awayMs - (performance.now() - stoppedAt))
    await redis.start()
    const startedAt = performance.now()
    await until(async () => (await this.#spend(6)).join() === limited.join(), 'limits that are shared again')
    const backMs = performance.now() - startedAt
    await until(async () => (await this.#overall()).every((status) => status === 'healthy'), 'health')
    return backMs
  }

  /** 503 with Retry-After meanwhile, and all back by itself. How long until it was. */
  async postgresRestart(): Promise<number> {
    const { servers, database } = this.#place
    const outage = this.#begin('PostgreSQL')
    await database.stop()
    const stoppedAt = performance.now()
    for (const server of servers) {
      await until(async () => (await this.#get(server, '/api/executions')).status === 503, 'the first refusal')
      const needing: [string, RequestInit?][] = [
        ['/api/executions'],
        ['/api/executions?include=total'],
        [`/api/executions/${crypto.randomUUID()}/events`],
        ['/api/workflow-recipes/effects/execute', { method: 'POST', body: '{}' }],
        // A key that is not cached has to be looked up: not even a wrong one is told so.
        ['/api/executions', { headers: { 'x-api-key': `ak_srv_${'0'.repeat(64)}` } }],
      ]
      for (const [path, init] of needing) expectUnavailable(await this.#get(server, path, init))
      const health = await this.#get(server, '/health')
      expect(health.status).toBe(503)
      expect(health.body).toMatchObject({ status: 'unhealthy', components: { database: { status: 'unhealthy' } } })
      expect((await this.#get(server, '/health/ready')).status).toBe(503)
      expect((await this.#get(server, '/health/live')).status).toBe(200)
      expect((await fetch(`${server.url}/metrics`)).status).toBe(200)
    }
    await pause(awayMs - (performance.now() - stoppedAt))
    await database.start()
    const startedAt = performance.now()
    await until(async () => (await this.#ready()).every((status) => status === 200), 'replicas that are ready')
    const backMs = performance.now() - startedAt
    await this.#end(outage)
    await this.#progress()
    await until(async () => (await this.#overall()).every((status) => status === 'healthy'), 'health')
    return backMs
  }

  /** Every connection to the database, again and again: a request at most, and no run. How many were cut. */
  async cutConnections(): Promise<number> {
    const outage = this.#begin('connections')
    let cut = 0
    for (let times = 0; times < cuts; times++) {
      const { rows } = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and application_name = 'automatos'`.execute(this.#place.db)
      cut += rows.length
      // Each cut hits replicas that serve.
      await this.#progress()
    }
    await this.#end(outage)
    // Both had a connection to lose each time.
    expect(cut).toBeGreaterThanOrEqual(2 * cuts)
    return cut
  }

  #begin(name: string): Outage {
    const outage = { name, fromMs: performance.now(), toMs: Infinity }
    this.#traffic.outages.push(outage)
    return outage
  }
  async #end(outage: Outage): Promise<void> {
    await pause(afterglowMs)
    outage.toMs = performance.now()
  }

  /** Starts are taken on. */
  async #progress(): Promise<void> {
    const before = this.#traffic.acknowledged.size
    await until(() => this.#traffic.acknowledged.size > before + 5, 'starts that are taken on')
  }

  /** So many requests of a new key that may make four a minute, to the replicas in turn. */
  async #spend(count: number): Promise<number[]> {
    const { servers, cluster } = this.#place
    const body = { name: 'Four a minute', scopes: ['executions:read'], rate_limit: 4 }
    const made = await cluster.request(() => servers, 'POST', '/api/api-keys', body)
    expect(made.status).toBe(201)
    const statuses = []
    for (let n = 0; n < count; n++) {
      const init = { headers: { 'x-api-key': made.body['key'] as string } }
      statuses.push((await this.#get(servers[n % servers.length]!, '/api/executions?limit=1', init)).status)
    }
    return statuses
  }

  #overall(): Promise<unknown[]> {
    return Promise.all(this.#place.servers.map(async (server) => (await this.#get(server, '/health')).body['status']))
  }
  #ready(): Promise<number[]> {
    return Promise.all(this.#place.servers.map(async (server) => (await this.#get(server, '/health/ready')).status))
  }

  async #get(server: Server, path: string, init: RequestInit = {}): Promise<Answered> {
    const headers = { 'x-api-key': this.#place.cluster.adminKey, 'content-type': 'application/json' }
    const response = await fetch(server.url + path, { headers, ...init, signal: AbortSignal.timeout(15_000) })
    return {
      status: response.status,
      headers: response.headers,
      body: JSON.parse(await response.text()) as Record<string, unknown>,
    }
  }
}

function expectUnavailable({ status, headers, body }: Answered): void {
  expect({ status, type: body['type'] }).toEqual({ status: 503, type: '/problems/unavailable' })
  expect(headers.get('content-type')).toBe('application/problem+json')
  expect(Number(headers.get('retry-after'))).toBeGreaterThan(0)
}

export async function until(isSo: () => boolean | Promise<boolean>, what: string, patienceMs = soonMs): Promise<void> {
  const untilMs = performance.now() + patienceMs
  while (!(await isSo())) {
    if (performance.now() > untilMs) throw new Error(`Waited ${patienceMs / 1000} s in vain for ${what}.`)
    await pause(100)
  }
}
