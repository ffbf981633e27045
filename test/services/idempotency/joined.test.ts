import { sql, type Kysely } from 'kysely'
import { expect, test } from 'vitest'
import type { Database } from '../../../src/db/database.ts'
import { joined } from '../../../src/services/idempotency/joined.ts'
import { databaseForTest } from '../../support/database.ts'

/** As the services see it, which open transactions of their own. */
const asDatabase = (tx: unknown) => tx as Kysely<Database>

test('what joins a transaction may be joined again; a part that fails takes nothing else along', async () => {
  const { db } = await databaseForTest()
  await sql`create table notes (text text)`.execute(db)
  const note = (where: Pick<typeof db, 'executeQuery' | 'getExecutor'>, text: string) =>
    sql`insert into notes values (${text})`.execute(where as typeof db)
  await db.transaction().execute(async (tx) => {
    const outer = asDatabase(joined(tx))
    await note(outer, 'outer')
    await outer.transaction().execute(async (part) => {
      await note(part, 'part')
      const inner = asDatabase(joined(part))
      const failing = inner.transaction().execute(async (below) => {
        await note(below, 'gone')
        throw new Error('no')
      })
      await expect(failing).rejects.toThrow('no')
      await inner.transaction().execute((below) => note(below, 'below'))
    })
  })
  const { rows } = await sql<{ text: string }>`select text from notes`.execute(db)
  expect(rows.map(({ text }) => text)).toEqual(['outer', 'part', 'below'])
})
