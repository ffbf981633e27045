import { once } from 'node:events'
import { Kysely } from 'kysely'
import postgres from 'postgres'
import { createApp } from '../../../src/app.ts'
import { parseConfig } from '../../../src/config.ts'
import type { Egress, Runtime } from '../../../src/context.ts'
import type { Database } from '../../../src/db/database.ts'
import { openNodeRuntime } from '../../../src/runtime/node/index.ts'
import type { ConnectLine } from '../../../src/runtime/postgres-line.ts'
import { postgresDialect } from '../../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../../src/runtime/postgres-pool.ts'
import { deathName, live, type Death, type Lifetime } from './life.ts'

/**
 * A process of the product that lives one run through and dies by SIGKILL where its lifetime says so: before a statement is
 * sent, when the server has carried it out and nobody has heard of it, or when an effect has been answered. It loads, says
 * that it is ready, and waits for its lifetime.
 */
const config = parseConfig(process.env)
const opened = await openNodeRuntime(config)
let death: Death | null = null
const statements: string[] = []
let effects = 0

const die = (): Promise<never> => {
  process.kill(process.pid, 'SIGKILL')
  return new Promise(() => {})
}

/** Everything goes through here: single statements, and what opens and closes transactions. */
const countedLine: ConnectLine = (line) => {
  const connection = { application_name: deathName }
  const client = postgres(config.databaseUrl!.reveal(), { ...line, connection, onnotice() {} } as object)
  const send = client.unsafe.bind(client)
  const counted = async (...query: Parameters<typeof send>) => {
    const at = statements.push(query[0])
    const strikes = death?.at === at
    if (strikes && death?.kind === 'before') return die()
    const result = await send(...query)
    return strikes && death?.kind === 'after' ? die() : result
  }
  return Object.assign(client, { unsafe: counted }) as unknown as ReturnType<ConnectLine>
}
const countedEgress: Egress = async (request, options) => {
  const answer = await opened.egress(request, options)
  return death?.kind === 'answered' && death.at === ++effects ? die() : answer
}
const pool = (connect: ConnectLine) =>
  new Kysely<Database>({ dialect: postgresDialect(new PostgresPool({ connect, max: 4 })) })

const runtime: Runtime = { ...opened, db: pool(countedLine), egress: countedEgress }
const lived = {
  app: createApp(config, () => ({ runtime })),
  runtime,
  adminKey: config.adminApiKey!.reveal(),
  eye: opened.db,
}
const lifetime = once(process, 'message')
process.send!({ ready: true })
const [{ recipe, key, ...told }] = (await lifetime) as [Lifetime]
death = told.death
await live(lived, recipe, key)
process.send!({ statements }, () => process.exit(0))
