import { sql, type Kysely } from 'kysely'
import type { Database } from '../../src/db/database.ts'

export interface Table {
  name: string
  of_workspace: boolean
  forced: boolean
  owner: string
  policies: { name: string; role: string }[]
}

/** Every table of the schema, as PostgreSQL has it. */
export async function listTables(db: Kysely<Database>): Promise<Table[]> {
  const { rows } = await sql<Table>`
    select c.relname as name, pg_get_userbyid(c.relowner) as owner, c.relrowsecurity and c.relforcerowsecurity as forced,
      exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'workspace_id' and not a.attisdropped)
        as of_workspace,
      coalesce((select jsonb_agg(jsonb_build_object('name', p.policyname, 'role', r.role) order by p.policyname)
        from pg_policies p cross join lateral unnest(p.roles) as r(role)
        where p.schemaname = current_schema() and p.tablename = c.relname), '[]') as policies
    from pg_class c where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
    order by c.relname`.execute(db)
  return rows
}

interface Column {
  name: string
  type: string
}

/** Rows of any table, made of its types alone: what checks, references and triggers ask of them is taken from the schema first. */
export async function loosenSchema(db: Kysely<Database>): Promise<void> {
  const { rows } = await sql<{ statement: string }>`
    select format('alter table %s drop constraint %I', conrelid::regclass, conname) as statement from pg_constraint
    where connamespace = current_schema()::regnamespace and contype in ('f', 'c')`.execute(db)
  for (const { statement } of rows) await sql.raw(statement).execute(db)
  for (const { name } of await listTables(db))
    await sql`alter table ${sql.table(name)} disable trigger user`.execute(db)
}

/** An insert of one row of a workspace; the literals are new with each. */
export async function insertionOf(db: Kysely<Database>, table: string, workspaceId: string): Promise<string> {
  const { rows } = await sql<Column>`
    select a.attname as name, format_type(a.atttypid, null) as type from pg_attribute a
    left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
    where a.attrelid = ${table}::text::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
      and a.attidentity = '' and (a.attname = 'workspace_id' or a.attnotnull and d.oid is null)`.execute(db)
  const values = rows.map(({ name, type }) => (name === 'workspace_id' ? `'${workspaceId}'::uuid` : literalOf(type)))
  return `insert into ${table} (${rows.map(({ name }) => `"${name}"`).join(', ')}) values (${values.join(', ')})`
}

function literalOf(type: string): string {
  if (type.endsWith('[]')) return `'{}'::${type}`
  switch (type) {
    case 'uuid':
      return `'${crypto.randomUUID()}'::uuid`
    case 'text':
      return `'${crypto.randomUUID()}'`
    case 'jsonb':
      return `'{}'::jsonb`
    case 'boolean':
      return 'false'
    case 'timestamp with time zone':
      return 'now()'
    case 'integer':
    case 'smallint':
    case 'bigint':
    case 'numeric':
    case 'double precision':
      return '1'
    default:
      throw new Error(`Rows with a ${type} cannot be made yet.`)
  }
}
