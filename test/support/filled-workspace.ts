import { sql, type Kysely } from 'kysely'
import type { Database } from '../../src/db/database.ts'
import { uuidv7 } from '../../src/lib/ids.ts'

interface Column {
  table: string
  name: string
  type: string
  nullable: boolean
  /** The table whose id it is. */
  parent: string | null
  /** Of the checks on it: what it may be at all. */
  checks: string | null
}

const texts = new Set(['text', 'jsonb', 'text[]', 'bytea', 'character varying'])

/** Every column that can be written, of every table of the schema. */
async function columnsOf(db: Kysely<Database>): Promise<Column[]> {
  const { rows } = await sql<Column>`
    select c.relname as table, a.attname as name, format_type(a.atttypid, null) as type, not a.attnotnull as nullable,
      (select k.confrelid::regclass::text from pg_constraint k
        where k.conrelid = c.oid and k.contype = 'f' and k.conkey = array[a.attnum] limit 1) as parent,
      (select string_agg(pg_get_constraintdef(k.oid), ' ') from pg_constraint k
        where k.conrelid = c.oid and k.contype = 'c' and k.conkey = array[a.attnum]) as checks
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relkind in ('r', 'p') and not c.relispartition and a.attidentity = '' and a.attgenerated = ''
      and c.relnamespace = (select oid from pg_namespace where nspname = current_schema())
    order by c.relname, a.attnum`.execute(db)
  return rows
}

/** What columns may be together: the rows that are put there have no such sense. */
async function dropChecksOfRows(db: Kysely<Database>): Promise<void> {
  const { rows } = await sql<{ table: string; name: string }>`
    select conrelid::regclass::text as table, conname as name from pg_constraint
    where contype = 'c' and array_length(conkey, 1) > 1 and not coninhcount > 0
      and connamespace = (select oid from pg_namespace where nspname = current_schema())`.execute(db)
  for (const { table, name } of rows)
    await sql`alter table ${sql.table(table)} drop constraint ${sql.ref(name)}`.execute(db)
}

export interface Filled {
  workspaceId: string
  /** In every text and JSON of the workspace's rows. */
  marker: string
  runId: string
  fileId: string
  exportId: string
  /** `table.column` of what bears the marker. */
  marked: string[]
  tables: string[]
}

/**
 * A workspace with a row in every table that holds rows of workspaces, as the catalogue has them, and the marker in all that can
 * hold text. References are not looked at: the rows need not make sense, only be there.
 */
export async function fillWorkspace(db: Kysely<Database>, options: { settled?: boolean } = {}): Promise<Filled> {
  const workspaceId = uuidv7()
  const [runId, fileId, exportId] = [uuidv7(), uuidv7(), uuidv7()]
  const idOf = new Map([
    ['runs', runId],
    ['files', fileId],
    ['privacy_exports', exportId],
  ])
  const marker = `marker-${crypto.randomUUID()}`
  const columns = await columnsOf(db)
  const byTable = new Map<string, Column[]>()
  for (const column of columns) byTable.set(column.table, [...(byTable.get(column.table) ?? []), column])
  const tables = [...byTable.keys()].filter(
    (table) =>
      table !== 'workspaces' && byTable.get(table)!.some(({ name }) => name === 'workspace_id' || name === 'run_id'),
  )
  const marked: string[] = []
  await db
    .insertInto('workspaces')
    .values({ id: workspaceId, slug: `s-${marker}`, name: marker, deleted_at: null, purge_after: null } as never)
    .execute()
  for (const table of tables) if (!idOf.has(table)) idOf.set(table, uuidv7())
  await dropChecksOfRows(db)
  await db.transaction().execute(async (tx) => {
    // Neither references nor triggers, which would take the rows for what they say.
    await sql`set local session_replication_role = replica`.execute(tx)
    for (const table of tables) {
      const values = byTable.get(table)!.map((column) => {
        const value = valueOf(column)
        if (texts.has(column.type) && value.isMarked) marked.push(`${table}.${column.name}`)
        return { name: column.name, sql: value.sql }
      })
      await sql`insert into ${sql.table(table)} (${sql.join(values.map(({ name }) => sql.ref(name)))})
        values (${sql.join(values.map((value) => value.sql))})`.execute(tx)
    }
  })
  return { workspaceId, marker, runId, fileId, exportId, marked, tables }

  function valueOf({ table, name, type, nullable, checks, parent }: Column) {
    const plain = (value: ReturnType<typeof sql>) => ({ sql: value, isMarked: false })
    const own = `${marker}:${table}.${name}`
    if (name === 'workspace_id') return plain(sql`${workspaceId}::text::uuid`)
    if (name === 'run_id') return plain(sql`${runId}::text::uuid`)
    const id = type === 'uuid' && (name === 'id' ? idOf.get(table) : parent !== null && idOf.get(parent))
    if (id) return plain(sql`${id}::text::uuid`)
    if (table === 'privacy_exports' && name === 'state') return plain(sql`${options.settled ? 'ready' : 'failed'}`)
    if (table === 'privacy_exports' && name === 'expires_at') return plain(sql`null`)
    if (name === 'key' && table === 'run_blobs') return plain(sql`${`runs/${workspaceId}/${runId}/large.json`}`)
    if (texts.has(type)) {
      const allowed = checks === null ? null : /'((?:[^']|'')*)'::text/.exec(checks)?.[1]
      if (allowed !== undefined && allowed !== null) return plain(sql`${allowed}`)
      if (checks !== null && type !== 'text') return plain(nullable ? sql`null` : sql`'{}'`)
      const value =
        type === 'jsonb'
          ? sql`jsonb_build_object('text', ${own}::text)`
          : type === 'text[]'
            ? sql`array[${own}::text]`
            : type === 'bytea'
              ? sql`convert_to(${own}::text, 'UTF8')`
              : sql`${own}::text`
      return { sql: value, isMarked: true }
    }
    if (type.endsWith('[]')) return plain(sql`'{}'`)
    if (type === 'uuid') return plain(sql`${uuidv7()}::text::uuid`)
    if (type.startsWith('timestamp')) return plain(sql`now() + interval '1 day'`)
    if (type === 'boolean') return plain(name === 'stored' ? sql`true` : sql`false`)
    if (type === 'date') return plain(sql`current_date`)
    if (type === 'interval') return plain(sql`interval '1 day'`)
    if (/int|numeric|double|real/.test(type)) return plain(sql`1`)
    if (nullable) return plain(sql`null`)
    throw new Error(`No value is known for ${table}.${name} of type ${type}: add one in filled-workspace.ts.`)
  }
}

/** Where a text is found: `table`, in whichever column. */
export async function tablesWith(db: Kysely<Database>, text: string): Promise<string[]> {
  const found: string[] = []
  for (const table of new Set((await columnsOf(db)).map((column) => column.table))) {
    const { rows } = await sql<{ n: number }>`
      select count(*)::integer as n from ${sql.table(table)} t
      where strpos(to_jsonb(t)::text, ${text}::text) > 0`.execute(db)
    if (rows[0]!.n > 0) found.push(table)
  }
  return found
}
