import { sql, type Kysely, type RawBuilder } from 'kysely'
import type { Blobs } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { tarFile } from '../../lib/tar.ts'
import { version } from '../../lib/version.ts'
import { fileKey } from '../files/file.ts'
import { tablesOfWorkspaces, type TableShape } from './catalogue.ts'

/** Rows read at once. One may hold a quarter of a megabyte of JSON. */
const rowsAtOnce = 100

/** Where an archive goes on: behind this row of this table. */
export interface Progress {
  table: string
  after: string[] | null
  files: number
  /** The row of the page behind `after` whose blob, and those before it, are done. */
  blob?: string[]
}

export interface Source {
  db: Kysely<Database>
  blobs: Blobs
  workspaceId: string
  /** Only rows that name this person. */
  userId: string | null
  /** The time that the files of the archive bear. */
  at: Date
}

/** What comes before the tables of the catalogue: rows that belong to a workspace by another column. */
const heads = ['workspaces', 'users'] as const
const blobTables = { files: 'blobs/files', run_blobs: 'blobs' } as const

/**
 * The files of an archive from a place on, each with the place behind it: whoever stops in between goes on from there. At
 * any time it holds a page of rows or one blob.
 */
export async function* archiveFiles(
  source: Source,
  from: Progress | null,
): AsyncGenerator<{ file: Uint8Array; progress: Progress }> {
  const tables = [...heads.map(headShape), ...(await tablesOfWorkspaces(source.db))]
  let progress: Progress = from ?? { table: '', after: null, files: 0 }
  if (!from) yield { file: manifest(source, tables), progress }
  for (const table of tables) {
    // In the order of the catalogue, heads first: what is done is not done again.
    if (place(table.name) < place(progress.table)) continue
    let after = table.name === progress.table ? progress.after : null
    let files = table.name === progress.table ? progress.files : 0
    let blob = table.name === progress.table ? progress.blob : undefined
    for (;;) {
      const rows = await readPage(source, table, after)
      if (rows.length === 0) break
      for await (const { file, key } of blobsOf(source, table.name, rowsBehind(rows, blob))) {
        progress = { table: table.name, after, files, blob: key }
        yield { file, progress }
      }
      blob = undefined
      after = rows.at(-1)!.key
      files++
      const behind: Progress = { table: table.name, after, files }
      const text = rows.map(({ row }) => `${withoutSealed(row)}\n`).join('')
      const path = `tables/${table.name}/${String(files).padStart(6, '0')}.ndjson`
      yield { file: tarFile(path, new TextEncoder().encode(text), source.at), progress: behind }
      progress = behind
    }
  }
}

const place = (table: string): string => {
  const head = (heads as readonly string[]).indexOf(table)
  return table === '' ? '' : head === -1 ? `1${table}` : `0${head}`
}

const headShape = (name: (typeof heads)[number]): TableShape => ({
  name,
  key: [{ name: 'id', type: 'uuid' }],
  scope: 'workspace_id',
  columns:
    name === 'users'
      ? ['id', 'issuer', 'subject', 'email', 'name', 'created_at']
      : ['id', 'slug', 'name', 'settings', 'created_at'],
})

function manifest({ workspaceId, userId, at }: Source, tables: TableShape[]): Uint8Array {
  const about = {
    format: 'automatos-export-1',
    version,
    workspace_id: workspaceId,
    user_id: userId,
    created_at: at.toISOString(),
    tables: tables.map(({ name, columns }) => ({ name, columns })),
    left_out: 'Secrets, and what is kept to answer a repeated request.',
  }
  return tarFile('manifest.json', new TextEncoder().encode(`${JSON.stringify(about, null, 2)}\n`), at)
}

interface PageRow {
  row: string
  key: string[]
  blob: string | null
}

async function readPage(source: Source, table: TableShape, after: string[] | null): Promise<PageRow[]> {
  const { db, workspaceId, userId } = source
  const keys = table.key.map(({ name }) => sql.ref(`t.${name}`))
  const conditions: RawBuilder<unknown>[] = [scopeOf(table, workspaceId)]
  if (after) {
    const values = table.key.map(({ type }, index) => sql`${after[index]}::text::${sql.raw(type)}`)
    conditions.push(sql`(${sql.join(keys)}) > (${sql.join(values)})`)
  }
  // Of its audit log a person gets what they did and what was done to them, of other tables what names them.
  if (userId !== null && table.name !== 'workspaces')
    conditions.push(sql`strpos(to_jsonb(t)::text, ${userId}::text) > 0`)
  const shown = sql`(select jsonb_object_agg(m.key, m.value) from jsonb_each(to_jsonb(t)) m
    where m.key = any(array(select jsonb_array_elements_text(${JSON.stringify(table.columns)}::text::jsonb))))`
  const blob =
    table.name === 'files'
      ? sql`case when t.stored then t.id::text end`
      : table.name === 'run_blobs'
        ? sql`t.key`
        : sql`null`
  const { rows } = await sql<PageRow>`
    select ${shown}::text as row, jsonb_build_array(${sql.join(keys.map((key) => sql`${key}::text`))}) as key,
      ${blob}::text as blob
    from ${sql.table(table.name)} t where ${sql.join(conditions, sql` and `)}
    order by ${sql.join(keys)} limit ${rowsAtOnce}::integer`.execute(db)
  return rows
}

function scopeOf(table: TableShape, workspaceId: string): RawBuilder<unknown> {
  const own = sql`${workspaceId}::text::uuid`
  if (table.name === 'workspaces') return sql`t.id = ${own}`
  if (table.name === 'users') return sql`t.id in (select user_id from memberships where workspace_id = ${own})`
  if (table.scope === 'run_id') return sql`t.run_id in (select id from runs where workspace_id = ${own})`
  return sql`t.workspace_id = ${own}`
}

/** All of them where that row is gone meanwhile: a file that is there twice is one when it is unpacked. */
const rowsBehind = (rows: PageRow[], key: string[] | undefined): PageRow[] =>
  key ? rows.slice(rows.findIndex((row) => row.key.join() === key.join()) + 1) : rows

async function* blobsOf(
  { blobs, workspaceId, at }: Source,
  table: string,
  rows: PageRow[],
): AsyncGenerator<{ file: Uint8Array; key: string[] }> {
  const folder = blobTables[table as keyof typeof blobTables]
  if (folder === undefined) return
  for (const { blob, key } of rows) {
    if (blob === null) continue
    const bytes = await blobs.get(table === 'files' ? fileKey(workspaceId, blob) : blob)
    if (bytes) yield { file: tarFile(`${folder}/${blob}`, bytes, at), key }
  }
}

/** A sealed text wherever it stands: without the key ring it says nothing, and with it too much. */
const withoutSealed = (row: string): string =>
  row.replace(/"v1\.[A-Za-z0-9_-]{1,32}\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"/g, 'null')
