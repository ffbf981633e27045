import { Kysely, sql, type Dialect, type KyselyConfig, type KyselyPlugin, type LogConfig } from 'kysely'
import type { Database } from './database.ts'

/** Roles of the database's cluster, which other products may share: hence the prefix. None may log in or pass by policies. */
export const roles = {
  /** Requests and steps: the rows of one workspace. */
  app: 'automatos_app',
  /** Identity and the background services: the tables that the migrations name for it. */
  engine: 'automatos_engine',
  /** Owns the schema. */
  migrator: 'automatos_migrator',
} as const

/** The setting that policies compare with. */
export const workspaceSetting = 'app.workspace_id'

/** Whose rows are seen: `login` is whoever the database lets in, and migrates. */
export type Scope = 'login' | 'engine' | { workspaceId: string }

export interface ScopeOptions {
  log?: LogConfig
  /** Ends the connections. They are shared by all scopes, so only `login` and `engine` can be destroyed. */
  close: () => Promise<void>
}

/** One database in its scopes, over the same connections. */
export interface Scopes {
  login: Kysely<Database>
  engine: Kysely<Database>
}

/** Workspaces that a process knows at a time; whoever holds an older one keeps it. */
const mostTenants = 1_000
const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** On the database itself, where every copy of this module finds it. */
const originKey = Symbol.for('automatos.origin')
type Marked = { [originKey]?: Origin }

class Origin implements Scopes {
  readonly login: Kysely<Database>
  readonly engine: Kysely<Database>
  readonly #dialect: (scope: Scope) => Dialect
  readonly #options: ScopeOptions
  readonly #tenants = new Map<string, Kysely<Database>>()

  constructor(dialect: (scope: Scope) => Dialect, options: ScopeOptions) {
    this.#dialect = dialect
    this.#options = options
    this.login = this.#open('login', options.close)
    this.engine = this.#open('engine', options.close)
  }

  tenant(workspaceId: string): Kysely<Database> {
    const known = this.#tenants.get(workspaceId)
    if (known) return known
    // It goes into a statement as it is.
    if (!uuid.test(workspaceId)) throw new Error('A workspace is named by its UUID.')
    const tenant = this.#open({ workspaceId }, async () => {})
    if (this.#tenants.size >= mostTenants) this.#tenants.delete(this.#tenants.keys().next().value!)
    this.#tenants.set(workspaceId, tenant)
    return tenant
  }

  #open(scope: Scope, close: () => Promise<void>): Kysely<Database> {
    const { log } = this.#options
    return new Scoped(this, { dialect: this.#dialect(scope), ...(log && { log }) }, close)
  }
}

/** Kysely's own `destroy` does nothing to a database that was never asked. */
class Scoped extends Kysely<Database> {
  readonly [originKey]: Origin
  readonly #close: () => Promise<void>

  constructor(origin: Origin, config: KyselyConfig, close: () => Promise<void>) {
    super(config)
    this[originKey] = origin
    this.#close = close
  }

  /** What is made of it is as wide as it. */
  override withPlugin(plugin: KyselyPlugin): Kysely<Database> {
    return Object.assign(super.withPlugin(plugin), { [originKey]: this[originKey] })
  }

  override async destroy(): Promise<void> {
    await super.destroy()
    await this.#close()
  }
}

/** Opens a database whose connections take on a scope for as long as a statement or a transaction needs them. */
export const openScopes = (dialect: (scope: Scope) => Dialect, options: ScopeOptions): Scopes =>
  new Origin(dialect, options)

/**
 * The same database, confined to the rows of one workspace by the database itself. Cheap: it is made once a workspace and
 * takes a connection only for what it is asked. A transaction stays what it is.
 */
export function scopedTo(db: Kysely<Database>, workspaceId: string): Kysely<Database> {
  return db.isTransaction ? db : originOf(db).tenant(workspaceId)
}

/**
 * Does what concerns no single workspace as identity and the background services may. Within a transaction it becomes a
 * part of that: on an embedded database a second connection would wait for it for ever.
 */
export async function acrossWorkspaces<T>(
  db: Kysely<Database>,
  work: (db: Kysely<Database>) => Promise<T>,
): Promise<T> {
  if (!db.isTransaction) return work(originOf(db).engine)
  const { rows } = await sql<{ role: string }>`select current_setting('role') as role`.execute(db)
  const become = (role: string) => sql`select set_config('role', ${role}, true)`.execute(db)
  await become(roles.engine)
  try {
    return await work(db)
  } finally {
    // Where even that fails the transaction is lost, and the first error says why.
    await become(rows[0]!.role).catch(() => {})
  }
}

/** The database as whoever logged in sees it: for migrations, and to ask whether there are any. */
export const asLogin = (db: Kysely<Database>): Kysely<Database> => originOf(db).login

/** What all scopes of a database have in common, as a key for what a process keeps by its database. */
export const databaseOf = (db: Kysely<Database>): object => (db as Marked)[originKey] ?? db

function originOf(db: Kysely<Database>): Origin {
  const origin = (db as Marked)[originKey]
  if (!origin) throw new Error('This database was not opened with scopes.')
  return origin
}
