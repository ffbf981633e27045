import { sql, type Kysely } from 'kysely'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import { acrossWorkspaces, databaseOf, roles, scopedTo } from '../../src/db/scope.ts'
import { uuidv7 } from '../../src/lib/ids.ts'
import { findAgent } from '../../src/services/agents/find.ts'
import { listAgents } from '../../src/services/agents/list.ts'
import { recordAudit } from '../../src/services/audit/record.ts'
import { createTestDatabase, type TestDatabase } from '../support/database.ts'
import { insertionOf, listTables, loosenSchema, type Table } from '../support/every-table.ts'
import { withoutWorkspace } from '../support/without-workspace.ts'

let database: TestDatabase
let db: Kysely<Database>
const [mine, theirs] = [uuidv7(), uuidv7()]
const agent = (workspace_id: string, slug: string) => ({
  id: uuidv7(),
  workspace_id,
  slug,
  name: slug,
})
const [myAgent, theirAgent] = [agent(mine, 'mine'), agent(theirs, 'theirs')]

beforeAll(async () => {
  database = await createTestDatabase()
  db = database.db
  for (const id of [mine, theirs]) {
    await db
      .insertInto('workspaces')
      .values({ id, slug: `w-${id}`, name: 'A workspace' })
      .execute()
  }
  await sql`insert into agents (id, workspace_id, slug, name) values
    (${myAgent.id}, ${mine}, 'mine', 'Mine'), (${theirAgent.id}, ${theirs}, 'theirs', 'Theirs')`.execute(db)
})
afterAll(() => database.close())

const codeOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => null,
    (error: { code?: unknown }) => error.code,
  )

test('every table is forced under policies, and one of workspaces under theirs', async () => {
  const wanting = (await listTables(db)).filter(
    ({ forced, owner, of_workspace, policies }) =>
      !forced ||
      owner !== roles.migrator ||
      !policies.some(({ role }) => role === roles.migrator) ||
      (of_workspace && !policies.some(({ name, role }) => name === 'workspace_rows' && role === roles.app)),
  )
  expect(wanting.map(({ name }) => name)).toEqual([])
})

test('of tables without a workspace_id the application sees these alone', async () => {
  const shown = (await listTables(db)).filter(
    ({ of_workspace, policies }) => !of_workspace && policies.some(({ role }) => role === roles.app),
  )
  expect(shown.map(({ name }) => name)).toEqual(
    [
      'child_ends',
      'component_samples',
      'crowded_slots',
      'doomed_blobs',
      'freed_slots',
      'instances',
      'models',
      'plans',
      'run_blobs',
      'run_calls',
      'run_events',
      'run_families',
      'run_inbox',
      'run_steps',
      'schedule_backfill_runs',
      'system_prompts',
      'system_settings',
      'users',
      'workflow_runs',
      'workspaces',
    ].toSorted(),
  )
})

// What a background service begins to touch is added here by a decision, in a migration, and not by accident.
test('of secrets and of what only requests and steps are for, the engine sees nothing', async () => {
  const { rows } = await sql<{ name: string; verbs: string[] }>`
    select table_name as name, array_agg(lower(privilege_type)::text order by privilege_type) as verbs
    from information_schema.role_table_grants
    where grantee = ${roles.engine} and table_schema = current_schema() group by 1`.execute(db)
  const verbsOf = Object.fromEntries(rows.map(({ name, verbs }) => [name, verbs]))
  for (const name of ['credentials', 'user_api_keys', 'egress_rules']) expect(verbsOf[name], name).toBeUndefined()
  expect(verbsOf['agents']).toEqual(['select'])
  expect(verbsOf['recipe_versions']).not.toContain('delete')
})

test('no role passes by row-level security, logs in, or is a member of another', async () => {
  const { rows } = await sql`
    select rolname, rolsuper, rolbypassrls, rolcanlogin, rolcreaterole,
      (select count(*)::integer from pg_auth_members m where m.member = r.oid) as memberships
    from pg_roles r where rolname in (${roles.app}, ${roles.engine}, ${roles.migrator}) order by rolname`.execute(db)
  const harmless = { rolsuper: false, rolbypassrls: false, rolcanlogin: false, rolcreaterole: false, memberships: 0 }
  expect(rows).toEqual(
    [roles.app, roles.engine, roles.migrator].toSorted().map((rolname) => ({ rolname, ...harmless })),
  )
})

test('the workspace of a request ends with it, whoever comes next on the connection', async () => {
  const seen = async (of: Kysely<Database>) => {
    const { rows } = await sql<{ role: string; workspace: string | null; slugs: string[] | null }>`
      select current_user as role, nullif(current_setting('app.workspace_id', true), '') as workspace,
        (select array_agg(slug order by slug) from agents) as slugs`.execute(of)
    return rows[0]!
  }
  const [a, b] = [scopedTo(database.engine, mine), scopedTo(database.engine, theirs)]
  const looks = await Promise.all([a, b, database.engine, db, a, b, database.engine, db].map(seen))
  expect(looks.slice(0, 2)).toEqual([
    { role: roles.app, workspace: mine, slugs: ['mine'] },
    { role: roles.app, workspace: theirs, slugs: ['theirs'] },
  ])
  expect(looks.slice(2, 4).map(({ slugs }) => slugs)).toEqual([
    ['mine', 'theirs'],
    ['mine', 'theirs'],
  ])
  expect(looks.slice(4, 6)).toEqual(looks.slice(0, 2))
  expect(looks[2]!.role).toBe(roles.engine)
  expect(looks[7]!.role).not.toMatch(/^automatos_/)
})

test('a transaction keeps its workspace from its first statement to its last, and a failure gives it to nobody', async () => {
  const tenant = scopedTo(database.engine, mine)
  const count = (of: Kysely<Database>) => of.selectFrom('agents').select('slug').execute()
  const failing = tenant.transaction().execute(async (tx) => {
    expect(await count(tx)).toEqual([{ slug: 'mine' }])
    await sql`update agents set name = 'Mine again' where true`.execute(tx)
    expect(await count(tx)).toEqual([{ slug: 'mine' }])
    await sql`select 1 / 0`.execute(tx)
  })
  expect(await codeOf(failing)).toBe('22012')
  expect(await codeOf(sql`select 1 / 0`.execute(tenant))).toBe('22012')
  expect(await count(tenant)).toEqual([{ slug: 'mine' }])
  expect(await database.engine.selectFrom('agents').select('name').orderBy('name').execute()).toEqual([
    { name: 'Mine' },
    { name: 'Theirs' },
  ])
})

test('what concerns no single workspace is seen in a transaction for as long as it takes, and then no more', async () => {
  const tenant = scopedTo(database.engine, mine)
  const slugs = async (of: Kysely<Database>) =>
    (await of.selectFrom('agents').select('slug').orderBy('slug').execute()).map(({ slug }) => slug)
  expect(await acrossWorkspaces(tenant, slugs)).toEqual(['mine', 'theirs'])
  await tenant.transaction().execute(async (tx) => {
    expect(await slugs(tx)).toEqual(['mine'])
    expect(await acrossWorkspaces(tx, slugs)).toEqual(['mine', 'theirs'])
    expect(await slugs(tx)).toEqual(['mine'])
  })
  expect(databaseOf(tenant)).toBe(databaseOf(db))
})

test('what a workspace is to the installation a request reads and does not set', async () => {
  const tenant = scopedTo(database.engine, mine)
  const set = (change: string, of = tenant) => sql.raw(`update workspaces set ${change}`).execute(of)
  for (const change of [
    'is_operator = true',
    `plan = 'unlimited'`,
    `limits = '{"agents": 1000000}'`,
    `slug = 'another'`,
    'created_at = now()',
  ])
    expect(await codeOf(set(change)), change).toBe('42501')
  const before = await db.selectFrom('workspaces').selectAll().where('id', '=', theirs).executeTakeFirst()
  await set(`name = 'Renamed', settings = '{"x": 1}', updated_at = now(), deleted_at = now(), purge_after = now()`)
  await set('name = name, deleted_at = null, purge_after = null')
  expect(await tenant.selectFrom('workspaces').select('name').forNoKeyUpdate().execute()).toEqual([{ name: 'Renamed' }])
  expect(await db.selectFrom('workspaces').selectAll().where('id', '=', theirs).executeTakeFirst()).toEqual(before)
})

test('the head of a log goes forward by an entry at a time, and nowhere else, until the workspace goes', async () => {
  const tenant = scopedTo(database.engine, mine)
  const actor = { kind: 'key' as const, id: uuidv7(), workspaceId: mine, permissions: new Set<never>() }
  const act = () => recordAudit(tenant, { actor }, { action: 'agent.updated', target: { type: 'agent', id: 'x' } })
  await act()
  await act()
  await sql`update audit_heads set signed_seq = 1`.execute(database.engine)
  const head = () => db.selectFrom('audit_heads').selectAll().executeTakeFirstOrThrow()
  const before = await head()
  for (const change of [
    'seq = seq - 1, prev_hash = hash',
    'seq = seq + 2, prev_hash = hash',
    'seq = seq + 1',
    'signed_seq = 2',
    `hash = ''`,
    'workspace_id = workspace_id',
  ])
    expect(await codeOf(sql.raw(`update audit_heads set ${change}`).execute(tenant)), change).toBe('42501')
  expect(await codeOf(sql`delete from audit_heads`.execute(tenant))).toBe('42501')
  expect(await head()).toEqual(before)
  await act()
  expect(await head()).toMatchObject({ prev_hash: before.hash })

  const going = (deleted_at: Date | null) => db.updateTable('workspaces').set({ deleted_at }).where('id', '=', mine)
  await going(new Date()).execute()
  expect(await codeOf(sql`delete from audit_heads`.execute(tenant))).toBeNull()
  await going(null).execute()
  expect(await db.selectFrom('audit_logs').select('seq').execute()).toEqual([])
})

test('a workflow whose bound is lifted loses what was counted of it, whoever lifts it', async () => {
  const lift = async (of: Kysely<Database>) => {
    const workflow = uuidv7()
    await sql`insert into workflows (id, workspace_id, name, goal, approval, state, created_by, budget_usd)
      values (${workflow}, ${mine}, 'A', 'A', 'auto', 'running', 'key:x', 1)`.execute(db)
    for (const [scope, level] of [
      [workflow, 4],
      [mine, 0],
    ] as const)
      await sql`insert into budgets (id, workspace_id, level, scope_id, limit_usd, period, window_start)
        values (${uuidv7()}, ${mine}, ${level}::integer, ${scope}, 1, 'total', now()) on conflict do nothing`.execute(
        db,
      )
    await sql`update workflows set budget_usd = null where id = ${workflow}`.execute(of)
    const { rows } = await sql<{ level: number }>`select level from budgets where workspace_id = ${mine}`.execute(db)
    return rows.map(({ level }) => level)
  }
  expect(await lift(scopedTo(database.engine, mine))).toEqual([0])
  expect(await lift(database.engine)).toEqual([0])
})

test('a workspace that is no UUID opens nothing', () => {
  for (const name of ['', 'x', `${mine}'; reset role; --`]) expect(() => scopedTo(db, name)).toThrow('UUID')
})

describe('a service that has forgotten its where clause', () => {
  const ctx = (of: Kysely<Database>) => ({
    db: of.withPlugin(withoutWorkspace),
    actor: { kind: 'key' as const, id: uuidv7(), workspaceId: mine, permissions: new Set<never>() },
  })

  test('lists and finds what is of other workspaces, as long as nothing stands behind it', async () => {
    const { items } = await listAgents(ctx(db), { limit: 50 })
    expect(items.map(({ slug }) => slug).toSorted()).toEqual(['mine', 'theirs'])
    expect(await findAgent(ctx(db), theirAgent.id)).toMatchObject({ slug: 'theirs' })
  })

  test('lists and finds its own alone with row-level security behind it', async () => {
    const tenant = scopedTo(database.engine, mine)
    const { items } = await listAgents(ctx(tenant), { limit: 50 })
    expect(items.map(({ slug }) => slug)).toEqual(['mine'])
    expect(await findAgent(ctx(tenant), theirAgent.id)).toBeNull()
    expect(await findAgent(ctx(tenant), 'theirs')).toBeNull()
  })
})

describe('of any table with a workspace_id', () => {
  let loose: TestDatabase
  let tables: Table[]
  beforeAll(async () => {
    loose = await createTestDatabase()
    await loosenSchema(loose.db)
    tables = (await listTables(loose.db)).filter(({ of_workspace }) => of_workspace)
    for (const { name } of tables) {
      for (const id of [mine, theirs]) await sql.raw(await insertionOf(loose.db, name, id)).execute(loose.db)
    }
  })
  afterAll(() => loose.close())

  /** What is found, by table: nothing where all is well. */
  async function offences(work: (table: string) => Promise<unknown>): Promise<string[]> {
    const found: string[] = []
    for (const { name } of tables) {
      const offence = await work(name)
      if (offence !== null) found.push(`${name}: ${JSON.stringify(offence)}`)
    }
    return found
  }
  const countIn = async (of: Kysely<Database>, table: string, workspace?: string) => {
    const { rows } = await sql<{ count: number }>`select count(*)::integer as count from ${sql.table(table)}
      ${workspace === undefined ? sql`` : sql`where workspace_id = ${workspace}::uuid`}`.execute(of)
    return rows[0]!.count
  }
  const refused = '42501'

  test('a request reads its own rows, whatever it asks for', async () => {
    const tenant = scopedTo(loose.engine, mine)
    const found = await offences(async (table) => {
      const counts = [await countIn(tenant, table), await countIn(tenant, table, theirs)]
      return counts[0] === 1 && counts[1] === 0 ? null : counts
    })
    expect(tables.length).toBeGreaterThan(40)
    expect(found).toEqual([])
  })

  test('it writes none into another workspace, moves none there, and changes and deletes none of another', async () => {
    const tenant = scopedTo(loose.engine, mine)
    const found = await offences(async (table) => {
      const name = sql.table(table)
      const inserted = await codeOf(sql.raw(await insertionOf(loose.db, table, theirs)).execute(tenant))
      const moved = await codeOf(sql`update ${name} set workspace_id = ${theirs}::uuid`.execute(tenant))
      await sql`update ${name} set workspace_id = workspace_id`.execute(tenant)
      await sql`delete from ${name}`.execute(tenant)
      const left = [await countIn(loose.db, table, mine), await countIn(loose.db, table, theirs)]
      await sql.raw(await insertionOf(loose.db, table, mine)).execute(tenant)
      return inserted === refused && moved === refused && left[0] === 0 && left[1] === 1
        ? null
        : [inserted, moved, left]
    })
    expect(found).toEqual([])
  })

  test('without a workspace nothing is seen and nothing is written', async () => {
    const found = await offences((table) =>
      loose.db.transaction().execute(async (tx) => {
        await sql`select set_config('role', ${roles.app}, true), set_config('app.workspace_id', '', true)`.execute(tx)
        const seen = await countIn(tx, table)
        await sql`savepoint before`.execute(tx)
        const insertion = await insertionOf(tx, table, mine)
        const inserted = await codeOf(sql.raw(insertion).execute(tx))
        await sql`rollback to savepoint before`.execute(tx)
        return seen === 0 && inserted === refused ? null : [seen, inserted]
      }),
    )
    expect(found).toEqual([])
  })

  test.each(['run_steps', 'run_calls', 'run_events', 'run_inbox', 'child_ends', 'crowded_slots'])(
    'what hangs on a run is as far away as the run: %s',
    async (table) => {
      const runs = await sql<{ id: string; workspace_id: string }>`select id, workspace_id from runs`.execute(loose.db)
      const runOf = (workspace: string) => runs.rows.find((row) => row.workspace_id === workspace)!.id
      const insertFor = async (of: Kysely<Database>, run: string) => {
        const statement = await insertionOf(loose.db, table, mine)
        // The run is whatever stands in the column of that name.
        const at = statement
          .slice(statement.indexOf('(') + 1, statement.indexOf(')'))
          .split(', ')
          .indexOf('"run_id"')
        const [before, values] = statement.split(' values (') as [string, string]
        const literals = values.slice(0, -1).split(', ')
        literals[at] = `'${run}'::uuid`
        return sql.raw(`${before} values (${literals.join(', ')})`).execute(of)
      }
      const tenant = scopedTo(loose.engine, mine)
      await insertFor(loose.db, runOf(theirs))
      await insertFor(tenant, runOf(mine))
      expect(await countIn(tenant, table)).toBe(1)
      expect(await codeOf(insertFor(tenant, runOf(theirs)))).toBe(refused)
      const moved = sql`update ${sql.table(table)} set run_id = ${runOf(theirs)}::uuid`.execute(tenant)
      expect(await codeOf(moved)).toBe(refused)
      await sql`delete from ${sql.table(table)}`.execute(tenant)
      expect(await countIn(loose.db, table)).toBe(1)
    },
  )
})
