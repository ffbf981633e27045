import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'kysely'
import { createApp } from '../../../src/app.ts'
import { parseConfig } from '../../../src/config.ts'
import { openNodeRuntime, type NodeRuntime } from '../../../src/runtime/node/index.ts'
import { ensureAdminKey } from '../../../src/services/identity/admin-key.ts'
import { createTestDatabase, type TestDatabase } from '../../support/database.ts'
import { moveClock } from './clock.ts'
import { deathName, live, type Lived } from './life.ts'

/**
 * A database for one run at a time, of a process that dies, and of this one, which goes on with what the dead left. Alone on
 * its database, a process sends the statements of a run in the same order each time.
 */
export class Lane {
  readonly db: TestDatabase['db']
  readonly #database: TestDatabase
  readonly #runtime: NodeRuntime
  readonly env: Record<string, string>
  readonly #survivor: Lived

  static async open(): Promise<Lane> {
    const database = await createTestDatabase()
    const folder = await mkdtemp(join(tmpdir(), 'automatos-lane-'))
    const env = {
      ENVIRONMENT: 'test',
      LOG_LEVEL: 'error',
      DATABASE_URL: database.url!,
      DATA_DIR: folder,
      ADMIN_API_KEY: `ak_srv_${randomBytes(32).toString('hex')}`,
      CREDENTIAL_ENCRYPTION_KEY: `k1:${randomBytes(32).toString('base64')}`,
      EGRESS_ALLOW: '127.0.0.1',
      RATE_LIMIT_AUTHENTICATED: '100000/minute',
    }
    const runtime = await openNodeRuntime(parseConfig(env))
    await ensureAdminKey(runtime, async () => {})
    return new Lane(database, runtime, env)
  }

  private constructor(database: TestDatabase, runtime: NodeRuntime, env: Record<string, string>) {
    this.#database = database
    this.#runtime = runtime
    this.env = env
    this.db = database.db
    const app = createApp(runtime.config, () => ({ runtime }))
    this.#survivor = { app, runtime, adminKey: env['ADMIN_API_KEY']!, eye: database.db }
  }

  async createRecipe(recipe: object): Promise<void> {
    const response = await this.#survivor.app.request('/api/workflow-recipes', {
      method: 'POST',
      headers: { 'x-api-key': this.#survivor.adminKey, 'content-type': 'application/json' },
      body: JSON.stringify(recipe),
    })
    if (response.status !== 201) throw new Error(await response.text())
  }

  /** The server has ended the sessions of the dead process: what it had sent is carried out or rolled back. */
  async untilGone(): Promise<void> {
    for (;;) {
      const { rows } = await sql`
        select pid from pg_stat_activity where datname = current_database() and application_name = ${deathName}`.execute(
        this.db,
      )
      if (rows.length === 0) return
    }
  }

  /** As another process finds it once the leases of the dead one have run out, and its client has tried again. */
  async survive(recipe: string, key: string): Promise<string> {
    await moveClock(this.db, 31)
    return live(this.#survivor, recipe, key, true)
  }

  async close(): Promise<void> {
    await this.#runtime.close()
    await this.#database.close()
    await rm(this.env['DATA_DIR']!, { recursive: true, force: true })
  }
}
