import { sql, type Kysely } from 'kysely'
import type { Database } from '../../../src/db/database.ts'

/** Moves `app_now()` for every connection, from where it is. */
export async function moveClock(db: Kysely<Database>, seconds: number): Promise<void> {
  const { rows } = await sql<{ ahead: number }>`
    select extract(epoch from app_now() - statement_timestamp())::double precision as ahead`.execute(db)
  await sql
    .raw(
      `create or replace function app_now() returns timestamptz language sql stable as
       'select statement_timestamp() + interval ''${rows[0]!.ahead + seconds} seconds'''`,
    )
    .execute(db)
}

/** Moves it to an instant, forwards or back. */
export async function setClock(db: Kysely<Database>, instant: string): Promise<void> {
  const { rows } = await sql<{ seconds: number }>`
    select extract(epoch from ${instant}::text::timestamptz - app_now())::double precision as seconds`.execute(db)
  await moveClock(db, rows[0]!.seconds)
}

/** Lets the leases of a process run out that renews them no more. Returns its runs. */
export async function expireLeasesOf(db: Kysely<Database>, pid: number): Promise<string[]> {
  const { rows } = await sql<{ id: string }>`
    update runs set lease_until = app_now() - interval '1 second'
    where state = 'running' and lease_owner like ${`%-${pid}-%`} returning id`.execute(db)
  return rows.map((row) => row.id)
}
