import { sql, type Kysely } from 'kysely'
import type { Database } from './database.ts'
import { writeMoveToken } from './move-token.ts'
import { asLogin, roles } from './scope.ts'

interface Column {
  name: string
  type: string
  identity: boolean
}
interface Table {
  name: string
  /** The tables that its rows refer to. */
  parents: string[]
  columns: Column[]
}

/** Rows of a statement, at first and at most, and how long they should be together: a batch is held in memory twice. */
const [firstRows, mostRows, aim] = [8, 200, 8_000_000]
/** What the caller has to say of the transaction that fills the target. */
export interface CopyMark {
  /** `hasMoveToken` finds it in the target once all is there, and not before. */
  token: string
  /** The last that is done before the commit. What it throws leaves the target empty. */
  beforeCommit(): Promise<void>
}

/** What every database of ours has by its migrations alone. */
const ofMigrations = new Set(['schema_migrations'])

/**
 * Copies every row of one database into another that has the same migrations and no workspace yet, in one transaction there.
 * Values travel as PostgreSQL's own text, so that nothing is rounded or read anew on the way. Nobody else may write the source.
 * Gives how many rows each table has, or null where the target is in use already.
 */
export async function copyRows(
  source: Kysely<Database>,
  target: Kysely<Database>,
  mark?: CopyMark,
): Promise<Map<string, number> | null> {
  return asLogin(source)
    .transaction()
    .execute((from) =>
      asLogin(target)
        .transaction()
        .execute(async (to) => {
          await sql`select set_config('role', ${roles.migrator}, true)`.execute(to)
          await sql`set local statement_timeout = 0`.execute(to)
          await sql`set local idle_in_transaction_session_timeout = 0`.execute(to)
          // A server that starts meanwhile waits here with its seeds, or is found.
          await sql`lock table workspaces in share row exclusive mode`.execute(to)
          if (await to.selectFrom('workspaces').select('id').limit(1).executeTakeFirst()) return null
          await to.deleteFrom('plans').execute()
          const counts = new Map<string, number>()
          for (const table of await tablesOf(to)) counts.set(table.name, await copyTable(from, to, table))
          if (mark) {
            await writeMoveToken(to, mark.token)
            await mark.beforeCommit()
          }
          return counts
        }),
    )
}

/**
 * How many rows come next, after so many of so many characters together: as many as would be long enough if they are like the
 * last, but at most twice those, as they need not be.
 */
export const nextBatch = (rows: number, length: number): number =>
  Math.max(1, Math.min(mostRows, 2 * rows, Math.floor((rows * aim) / length)))

/** The tables of the schema, each behind those that its rows refer to. */
async function tablesOf(db: Kysely<Database>): Promise<Table[]> {
  const { rows } = await sql<Table>`
    select c.relname as name,
      array(select distinct k.confrelid::regclass::text from pg_constraint k
        where k.conrelid = c.oid and k.contype = 'f' and k.confrelid <> c.oid) as parents,
      (select jsonb_agg(jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
          'identity', a.attidentity <> '') order by a.attnum)
        from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = '') as columns
    from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    order by c.relname`.execute(db)
  const waiting = rows.filter(({ name }) => !ofMigrations.has(name))
  const ordered: Table[] = []
  while (waiting.length > 0) {
    const open = new Set(waiting.map(({ name }) => name))
    const next = waiting.findIndex(({ parents }) => parents.every((parent) => !open.has(parent)))
    if (next === -1) throw new Error(`These tables refer to each other in a circle: ${[...open].join(', ')}.`)
    ordered.push(...waiting.splice(next, 1))
  }
  return ordered
}

async function copyTable(from: Kysely<Database>, to: Kysely<Database>, { name, columns }: Table): Promise<number> {
  const named = sql.join(columns.map((column) => sql.ref(column.name)))
  const texts = sql.join(columns.map((column) => sql`${sql.ref(column.name)}::text`))
  const values = sql.join(columns.map(({ type }, index) => sql`(r ->> ${sql.lit(index)})::${sql.raw(type)}`))
  await sql`declare copied no scroll cursor for select json_build_array(${texts})::text as row from ${sql.table(name)}`.execute(
    from,
  )
  let count = 0
  let batch = firstRows
  for (;;) {
    const { rows } = await sql<{ row: string }>`fetch ${sql.lit(batch)} from copied`.execute(from)
    if (rows.length === 0) break
    const list = `[${rows.map(({ row }) => row).join(',')}]`
    batch = nextBatch(rows.length, list.length)
    await sql`insert into ${sql.table(name)} (${named}) overriding system value
      select ${values} from json_array_elements(${list}::text::json) r`.execute(to)
    count += rows.length
  }
  await sql`close copied`.execute(from)
  for (const column of columns.filter(({ identity }) => identity))
    await sql`select setval(pg_get_serial_sequence(${name}, ${column.name}), greatest(max(${sql.ref(column.name)}), 1),
      max(${sql.ref(column.name)}) is not null) from ${sql.table(name)}`.execute(to)
  return count
}
