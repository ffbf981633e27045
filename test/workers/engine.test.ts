import { sql } from 'kysely'
import { inject } from 'vitest'
import { asLogin } from '../../src/db/scope.ts'
import { openRequestDatabase } from '../../src/runtime/workers/database.ts'
import { controlSuite } from '../services/runs/control.suite.ts'
import { engineSuite } from '../services/runs/engine.suite.ts'
import './support/provided.ts'

// A database of its own: the suite moves the clock, which would wake and time out the runs of the other files.
const open = async () => {
  const url = new URL(inject('engineDatabaseUrl'))
  const { db, close } = openRequestDatabase({
    host: url.hostname,
    port: Number(url.port),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: url.pathname.slice(1),
  })
  return {
    db,
    close,
    async shiftClock({ seconds }: { seconds: number }) {
      await sql
        .raw(
          `create or replace function app_now() returns timestamptz language sql stable as
           'select statement_timestamp() + interval ''${seconds} seconds'''`,
        )
        .execute(asLogin(db))
    },
  }
}
engineSuite(open)
controlSuite(open)
