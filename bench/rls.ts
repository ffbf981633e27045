import { Kysely, sql } from 'kysely'
import postgres from 'postgres'
import type { Database } from '../src/db/database.ts'
import { scopedTo } from '../src/db/scope.ts'
import { uuidv7 } from '../src/lib/ids.ts'
import { postgresDialect } from '../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../src/runtime/postgres-pool.ts'
import { withDatabase } from './database.ts'
import { median, milliseconds, perSecond, report } from './result.ts'

// What row-level security costs: the same statements of the same pool, confined to a workspace by the database (role,
// workspace and policies) and as a superuser whom no policy holds. A read of a page by its index, and a transaction of three
// statements, one after the other and ten in flight, in interleaved rounds; and the engine's role, which its connections carry.
// Usage: node bench/rls.ts [rounds] [times a round]
const rounds = Number(process.argv[2] ?? 9)
const times = Number(process.argv[3] ?? 400)
const others = 50
const rowsEach = 200

type Work = (db: Kysely<Database>) => Promise<unknown>

await withDatabase(async ({ client, db, workspaceId, url, another }) => {
  await client`
    insert into workspaces (id, slug, name)
    select gen_random_uuid(), 'other-' || n, 'Other' from generate_series(1, ${others}) n`
  await client`
    insert into agents (id, workspace_id, slug, name)
    select gen_random_uuid(), w.id, 'agent-' || n, 'Agent' from workspaces w, generate_series(1, ${rowsEach}) n`
  await client`vacuum analyze agents`

  const read: Work = (of) =>
    of
      .selectFrom('agents')
      .select(['id', 'slug', 'name', 'created_at'])
      .where('workspace_id', '=', workspaceId)
      .orderBy('created_at', 'desc')
      .orderBy('id', 'desc')
      .limit(51)
      .execute()
  const transaction: Work = (of) =>
    of.transaction().execute(async (tx) => {
      const { id } = await tx
        .selectFrom('agents')
        .select('id')
        .where('workspace_id', '=', workspaceId)
        .where('slug', '=', `agent-${1 + Math.floor(Math.random() * rowsEach)}`)
        .where('deleted_at', 'is', null)
        .forUpdate()
        .executeTakeFirstOrThrow()
      await tx
        .updateTable('agents')
        .set({ version: sql<number>`version + 1` })
        .where('workspace_id', '=', workspaceId)
        .where('id', '=', id)
        .execute()
      await tx
        .insertInto('run_blobs')
        .values({ key: `runs/${workspaceId}/${uuidv7()}`, run_id: uuidv7() })
        .execute()
    })

  // Their own pools, so that neither changes what the connections of the other have prepared.
  const engine = another().db
  const pool = new PostgresPool({ connect: (line) => postgres(url, { ...line, onnotice() {} } as object), max: 10 })
  const asSuperuser = new Kysely<Database>({ dialect: postgresDialect(pool) })
  const scoped = scopedTo(db, workspaceId)
  for (const inFlight of [1, 10]) {
    const flight = inFlight === 1 ? 'one after the other' : `${inFlight} in flight`
    await compare(`A read within its workspace, ${flight}`, 'the same without', read, scoped, asSuperuser, inFlight)
    await compare(
      `Three statements in a transaction within their workspace, ${flight}`,
      'the same without',
      transaction,
      scoped,
      asSuperuser,
      inFlight,
    )
  }
  const claim: Work = (of) => of.selectFrom('runs').select('id').where('id', '=', workspaceId).execute()
  await compare('A read by the engine, 10 in flight', 'the same without', claim, engine, asSuperuser, 10)
  await asSuperuser.destroy()
})

async function compare(
  name: string,
  against: string,
  work: Work,
  scoped: Kysely<Database>,
  bare: Kysely<Database>,
  inFlight: number,
): Promise<void> {
  const took = async (db: Kysely<Database>) => {
    const startMs = performance.now()
    let left = times
    const line = async () => {
      while (left-- > 0) await work(db)
    }
    await Promise.all(Array.from({ length: inFlight }, line))
    return (performance.now() - startMs) / times
  }
  await took(bare)
  await took(scoped)
  const samples: { scoped: number; bare: number }[] = []
  for (let round = 0; round < rounds; round++) samples.push({ bare: await took(bare), scoped: await took(scoped) })
  const ms = (of: 'scoped' | 'bare') => median(samples.map((sample) => sample[of]))
  const show = (of: 'scoped' | 'bare') => (inFlight === 1 ? milliseconds(ms(of)) : perSecond(1_000 / ms(of), 'times'))
  report({
    name,
    against,
    ratio: median(samples.map((sample) => sample.scoped / sample.bare)),
    goal: null,
    rounds: samples.map((sample) => sample.scoped / sample.bare),
    figures: { within: show('scoped'), without: show('bare') },
  })
}
