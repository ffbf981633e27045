import type { Kysely } from 'kysely'
import postgres from 'postgres'
import type { Database } from '../../db/database.ts'
import { postgresScopes } from '../postgres-dialect.ts'
import { PostgresPool } from '../postgres-pool.ts'
import type { OnQuery } from '../tracing/sql-spans.ts'
import { StartupError } from './startup-error.ts'

/** Options that postgres.js reads and its types leave out. */
interface ConnectorOptions {
  max?: number
  idle_timeout?: number
  max_lifetime?: number | null
  onclose?: () => void
  onparameter?: () => void
  onnotify?: (channel: string, payload: string) => void
}
/** Makes clients of one server that differ in their connections alone. */
export type PostgresConnector = (options?: ConnectorOptions) => postgres.Sql

const maxConnections = 10

/** A statement of ours answers in milliseconds; these end what hangs. Migrations lift them for themselves. */
const timeouts = {
  statement_timeout: '60s',
  lock_timeout: '10s',
  idle_in_transaction_session_timeout: '60s',
}

export interface PostgresDatabase {
  pool: PostgresPool
  db: Kysely<Database>
  connect: PostgresConnector
  label: string
}

export async function openPostgres(url: string, onQuery?: OnQuery): Promise<PostgresDatabase> {
  const address = readAddress(url)
  const connectWith =
    (settings: object): PostgresConnector =>
    (options = {}) =>
      postgres(url, {
        connect_timeout: 10,
        onnotice: () => {},
        ...options,
        connection: { application_name: 'automatos', ...settings },
      } as postgres.Options<Record<string, postgres.PostgresType>>)

  let connect = connectWith(timeouts)
  let pooled = false
  try {
    pooled = !(await tryOnce(connect))
  } catch (error) {
    // Connection poolers refuse settings that they cannot keep per client, or swallow them; the server's own defaults apply then.
    if (!isRefusedSetting(error)) throw unreachable(error, address)
    connect = connectWith({})
    pooled = true
    await tryOnce(connect).catch((cause: unknown) => {
      throw unreachable(cause, address)
    })
  }
  const pool = new PostgresPool({ connect, max: maxConnections })
  return {
    pool,
    db: postgresScopes(pool, { pooled, ...(onQuery && { log: onQuery }) }).engine,
    connect,
    label: `PostgreSQL at ${address}`,
  }
}

/** Whether the settings of the first message hold. All are looked at: a server may have one of them of its own. */
async function tryOnce(connect: PostgresConnector): Promise<boolean> {
  const client = connect({ max: 1 })
  try {
    const [row] = await client<{ isOurs: boolean }[]>`
      select bool_and(current_setting(name)::interval = value::interval) as "isOurs"
      from json_each_text(${JSON.stringify(timeouts)}::text::json) as ours (name, value)`
    return row?.isOurs === true
  } finally {
    await client.end({ timeout: 1 })
  }
}

function isRefusedSetting(error: unknown): boolean {
  return (error as { code?: string }).code === '08P01' && /startup parameter/i.test(String(error))
}

/** Host, port and database: what a person needs to recognise it, without the password. */
function readAddress(url: string): string {
  try {
    const { host, pathname } = new URL(url)
    return `${host || 'the local socket'}${pathname === '/' ? '' : pathname}`
  } catch {
    throw new StartupError('DATABASE_URL is not a URL. Expected postgres://user:password@host:5432/database')
  }
}

function unreachable(error: unknown, address: string): StartupError {
  const { code, message } = error as { code?: string; message?: string }
  const advice: Record<string, string> = {
    ECONNREFUSED: 'nothing listens there; start the server or correct DATABASE_URL',
    ENOTFOUND: 'the host name is unknown; correct DATABASE_URL',
    CONNECT_TIMEOUT: 'no answer within 10 s; check host, port and firewall',
    '28P01': 'user or password is wrong; correct DATABASE_URL',
    '3D000': 'that database does not exist; create it or correct DATABASE_URL',
  }
  const reason = advice[code ?? ''] ?? `${message ?? 'unknown reason'}${code ? ` (${code})` : ''}`
  return new StartupError(`The PostgreSQL database at ${address} cannot be used: ${reason}.`, error)
}
