import postgres from 'postgres'
import { postgresScopes } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'
import { Cluster, freePort, type Server } from '../../test/chaos/support/cluster.ts'
import { startEffectServer } from '../../test/chaos/support/effect-server.ts'
import { KeepAliveClient } from '../../test/chaos/support/keep-alive-client.ts'
import { createOwnPostgres, findPostgres } from '../../test/chaos/support/own-postgres.ts'
import { createOwnRedis, findRedis } from '../../test/chaos/support/own-redis.ts'

export const graceMs = 30_000

/** Two replicas on a PostgreSQL and a Redis of their own, and the service that their runs call. */
export type Place = Awaited<ReturnType<typeof openPlace>>

export const installed = () => ({ postgres: findPostgres(), redis: findRedis() })

export async function openPlace(bin: string, redisServer: string) {
  const closing: (() => unknown)[] = []
  const close = async () => {
    for (const step of closing.toReversed()) await step()
  }
  try {
    const [database, redis] = await Promise.all([createOwnPostgres(bin, { fsync: true }), createOwnRedis(redisServer)])
    closing.push(
      () => database.remove(),
      () => redis.remove(),
    )
    const connect = (line: object) => postgres(database.url, { ...line, onnotice() {} })
    const pool = new PostgresPool({ connect, max: 4 })
    closing.push(() => pool.close())
    // As who logged in: it looks at every row, and cuts connections.
    const db = postgresScopes(pool).login
    /** Who waits for the last effect of a run, by the key of that. */
    const waiting = new Map<string, () => void>()
    const effects = await startEffectServer((key) => {
      waiting.get(key)?.()
      return 20 + Math.random() * 130
    })
    closing.push(() => effects.close())
    const cluster = new Cluster(database.url, {
      REDIS_URL: redis.url,
      SHUTDOWN_GRACE_S: String(graceMs / 1000),
      RATE_LIMIT_AUTHENTICATED: '100000000/minute',
    })
    closing.push(() => cluster.close())
    const ports = [await freePort(), await freePort()]
    const servers: Server[] = []
    for (const port of ports) servers.push(await cluster.start({ port }))
    await Promise.all(servers.map(({ ready }) => ready))
    const client = new KeepAliveClient(() => ports.map((port) => `http://127.0.0.1:${port}`), cluster.adminKey)
    closing.push(() => client.close())
    return { database, redis, db, effects, waiting, cluster, ports, servers, client, close }
  } catch (error) {
    await close()
    throw error
  }
}
