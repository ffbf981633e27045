import { sql, type Kysely } from 'kysely'
import { beforeEach, describe, expect, test } from 'vitest'
import type { ServiceContext } from '../../../src/context.ts'
import type { Database } from '../../../src/db/database.ts'
import { Secret } from '../../../src/lib/secret.ts'
import { recordAudit } from '../../../src/services/audit/record.ts'
import { signSeal } from '../../../src/services/audit/seals.ts'
import { auditService } from '../../../src/services/audit/tick.ts'
import { verifyAuditLogs, type VerifyInput } from '../../../src/services/audit/verify.ts'
import { createServiceContext } from '../../support/service-context.ts'
import { createTestDatabase } from '../../support/database.ts'
import { afterAll } from 'vitest'

const database = await createTestDatabase()
afterAll(() => database.close())
const { db } = database

let ctx: ServiceContext
let workspaceId: string
beforeEach(async () => {
  ctx = await createServiceContext({ db })
  workspaceId = ctx.actor.workspaceId
  await database.shiftClock({ seconds: 0 })
})

const act = (after: object = {}) =>
  recordAudit(
    db,
    { ...ctx, requestId: 'request-1', client: { address: '203.0.113.9' } },
    {
      action: 'thing.changed',
      target: { type: 'thing', id: 'thing-1' },
      before: { color: 'red' },
      after,
    },
  )
async function acts(count: number) {
  for (let n = 1; n <= count; n++) await act({ n })
}
const verify = (input: Partial<VerifyInput> = {}) => verifyAuditLogs(ctx, { limit: 10_000, ...input })
const rows = () =>
  db.selectFrom('audit_logs').selectAll().where('workspace_id', '=', workspaceId).orderBy('seq').execute()
const tamper = (statement: ReturnType<typeof sql>) => statement.execute(db)

test('acts at the same time form one chain without gaps', async () => {
  await Promise.all(Array.from({ length: 25 }, (_, n) => act({ n })))
  const found = await rows()
  expect(found.map(({ seq }) => Number(seq))).toEqual(Array.from({ length: 25 }, (_, n) => n + 1))
  found.forEach((row, n) => expect(row.prev_hash).toBe(n === 0 ? '' : found[n - 1]!.hash))
  expect(await verify()).toMatchObject({ valid: true, complete: true, checked: 25, to_seq: 25, head: { seq: 25 } })
})

test('an act that is rolled back leaves neither an entry nor a gap', async () => {
  await act()
  const failing = db.transaction().execute(async (tx) => {
    await recordAudit(tx, ctx, { action: 'thing.deleted', target: { type: 'thing', id: 'thing-1' } })
    throw new Error('The act fails.')
  })
  await expect(failing).rejects.toThrow('The act fails.')
  await act()
  expect((await rows()).map(({ action }) => action)).toEqual(['thing.changed', 'thing.changed'])
  expect(await verify()).toMatchObject({ valid: true, to_seq: 2 })
})

test('an entry verifies whatever its ids and addresses are', async () => {
  for (const odd of ['lone \ud800', 'nul \0', `${'x'.repeat(499)}😀`, '\udc00'])
    await recordAudit(
      db,
      { actor: { ...ctx.actor, id: odd }, requestId: odd, client: { address: odd } },
      { action: 'thing.changed', target: { type: odd, id: odd } },
    )
  expect(await verify()).toMatchObject({ valid: true, to_seq: 4 })
})

/** A database in which something happens right after the answer to a certain query. */
function meanwhile(after: number, happens: () => Promise<unknown>): Kysely<Database> {
  let left = after
  const watched = <T extends object>(it: T): T =>
    new Proxy(it, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name)
        if (typeof member !== 'function') return member
        return (...args: unknown[]): unknown => {
          const given: unknown = member.apply(target, args)
          if (given instanceof Promise)
            return given.then(async (answer: unknown) => {
              if (--left === 0) await happens()
              return answer
            })
          return typeof given === 'object' && given !== null && 'compile' in given ? watched(given) : given
        }
      },
    })
  return watched(db)
}

test('what is written, signed or pruned between two looks is no tampering', async () => {
  await acts(3)
  await auditService.tick(ctx)
  const errors: unknown[] = []
  const log = { ...ctx.log, error: (...said: unknown[]) => void errors.push(said) }
  for (let after = 1; after <= 8; after++) {
    await act()
    const signed = async () => {
      await acts(2)
      await auditService.tick(ctx)
    }
    expect(await verifyAuditLogs({ ...ctx, db: meanwhile(after, signed) }, { limit: 100 })).toMatchObject({
      valid: true,
    })
    await act()
    await auditService.tick({ ...ctx, db: meanwhile(after, signed), log })
  }
  expect(errors.filter((said) => JSON.stringify(said).includes(workspaceId))).toEqual([])

  for (let after = 1; after <= 8; after++) {
    await acts(2)
    const [known, last] = (await rows()).slice(-2)
    const { seq, hash } = { seq: Number(last!.seq), hash: last!.hash }
    const pruned = async () => {
      await db.deleteFrom('audit_logs').where('workspace_id', '=', workspaceId).where('seq', '<=', seq).execute()
      const link = { seq, hash, at: new Date(1_700_000_000_000) }
      const anchor = { workspace_id: workspaceId, kind: 'anchor' as const, ...link }
      await db
        .insertInto('audit_seals')
        .values({ ...anchor, signature: await signSeal(ctx.cipher, anchor) })
        .execute()
    }
    const input = { limit: 100, from: seq, known_seq: seq - 1, known_hash: known!.hash }
    expect(await verifyAuditLogs({ ...ctx, db: meanwhile(after, pruned) }, input)).toMatchObject({ valid: true })
  }
})

test('every log has its turn, however many are broken and however busy one is', async () => {
  const others: string[] = []
  for (let n = 0; n < 51; n++) {
    const { actor } = await createServiceContext({ db })
    await recordAudit(db, { actor }, { action: 'thing.changed', target: { type: 'thing', id: 'x' } })
    others.push(actor.workspaceId)
  }
  await db.updateTable('audit_logs').set({ action: 'thing.forged' }).where('workspace_id', 'in', others).execute()
  await act()
  for (let pass = 0; pass < 4; pass++) await auditService.tick(ctx)
  expect(await verify()).toMatchObject({ valid: true, signed_seq: 1 })
  await db.deleteFrom('audit_heads').where('workspace_id', 'in', others).execute()

  for (const workspace of others)
    await recordAudit(
      db,
      { actor: { ...ctx.actor, workspaceId: workspace } },
      { action: 'thing.changed', target: { type: 'thing', id: 'x' } },
    )
  const unsigned = () =>
    db.selectFrom('audit_heads').select('seq').where('workspace_id', 'in', others).where('signed_seq', '=', 0).execute()
  expect((await auditService.tick(ctx)).more).toBe(true)
  await auditService.tick(ctx)
  expect(await unsigned()).toEqual([])
})

test('an entry verifies whatever text, number or size went into it', async () => {
  await act({
    text: 'nul \0, lone \ud800, quotes " \\ \\u0000, emoji 😀',
    numbers: [0.1, -0, 1e21, 5e-324, 123456789012345680000],
    'key \0': { __proto__x: 1 },
    long: 'x'.repeat(100_000),
    many: Array.from({ length: 5_000 }, (_, n) => ({ n, text: 'y'.repeat(50) })),
  })
  await act({ deep: JSON.parse(`${'['.repeat(50)}1${']'.repeat(50)}`) as object })
  expect(await verify()).toMatchObject({ valid: true, to_seq: 2 })
  for (const row of await rows()) expect(JSON.stringify(row.after).length).toBeLessThan(40_000)
})

test('secrets are hidden by name and by shape, and what is none stays', async () => {
  await act({
    password: 'hunter2',
    nested: { clientSecret: 'c0ffee', 'X-Api-Key': 'abc', access_token: ['one', 'two'] },
    key: `ak_srv_${'0'.repeat(64)}`,
    note: `use ak_srv_${'a'.repeat(64)} or postgres://me:pw@host/db or whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw`,
    vendors: `github_pat_${'a'.repeat(60)} sk_live_${'b'.repeat(24)} AIza${'c'.repeat(35)}`,
    wrapped: new Secret('never'),
    max_output_tokens: 512,
    secret_fields: 3,
    name: 'Deploy key',
  })
  const [row] = await rows()
  expect(row!.after).toEqual({
    password: '***',
    nested: { clientSecret: '***', 'X-Api-Key': '***', access_token: ['***', '***'] },
    key: '***',
    note: 'use *** or postgres://***host/db or ***',
    vendors: '*** *** ***',
    wrapped: '***',
    max_output_tokens: 512,
    secret_fields: 3,
    name: 'Deploy key',
  })
})

describe('tampering shows', () => {
  beforeEach(() => acts(6))

  const changes: [string, () => ReturnType<typeof sql>, object][] = [
    [
      'a changed value',
      () => sql`update audit_logs set after = '{"n": 7}' where workspace_id = ${workspaceId} and seq = 3`,
      { seq: 3, kind: 'changed' },
    ],
    [
      'another actor',
      () => sql`update audit_logs set actor_id = 'somebody' where workspace_id = ${workspaceId} and seq = 4`,
      { seq: 4, kind: 'changed' },
    ],
    [
      'another time',
      () =>
        sql`update audit_logs set created_at = created_at - interval '1 hour' where workspace_id = ${workspaceId} and seq = 2`,
      { seq: 2, kind: 'changed' },
    ],
    [
      'another address',
      () => sql`update audit_logs set client_address = '192.0.2.1' where workspace_id = ${workspaceId} and seq = 2`,
      { seq: 2, kind: 'changed' },
    ],
    [
      'a deleted entry',
      () => sql`delete from audit_logs where workspace_id = ${workspaceId} and seq = 3`,
      { seq: 3, kind: 'missing' },
    ],
    [
      'the first entry deleted',
      () => sql`delete from audit_logs where workspace_id = ${workspaceId} and seq = 1`,
      { seq: 1, kind: 'missing' },
    ],
    [
      'two entries that changed places',
      () => sql`update audit_logs set seq = -seq where workspace_id = ${workspaceId} and seq in (2, 3)`,
      { seq: 2, kind: 'missing' },
    ],
    [
      'the last entry deleted',
      () => sql`delete from audit_logs where workspace_id = ${workspaceId} and seq = 6`,
      { seq: 6, kind: 'missing' },
    ],
  ]
  test.each(changes)('%s', async (_, statement, broken) => {
    expect((await verify()).valid).toBe(true)
    await tamper(statement())
    expect(await verify()).toMatchObject({ valid: false, broken })
  })

  test('entries that changed places, each with the number of the other', async () => {
    await tamper(sql`update audit_logs set seq = seq + 100 where workspace_id = ${workspaceId} and seq in (2, 3)`)
    await tamper(sql`update audit_logs set seq = case seq when 102 then 3 else 2 end
      where workspace_id = ${workspaceId} and seq > 100`)
    expect(await verify()).toMatchObject({ valid: false, broken: { seq: 2, kind: 'changed' } })
  })

  test('an end that is cut off together with the head, by the checkpoint that signed it', async () => {
    await auditService.tick(ctx)
    expect(await verify()).toMatchObject({ valid: true, signed_seq: 6 })
    await tamper(sql`delete from audit_logs where workspace_id = ${workspaceId} and seq > 4`)
    await tamper(sql`update audit_heads h set seq = l.seq, hash = l.hash, prev_hash = l.prev_hash, signed_seq = 4
      from audit_logs l where h.workspace_id = ${workspaceId} and l.workspace_id = h.workspace_id and l.seq = 4`)
    expect(await verify()).toMatchObject({ valid: false, broken: { kind: 'head', seq: 5 } })
  })

  test('a log that was written anew as a whole, by the checkpoint that signed the first one', async () => {
    await auditService.tick(ctx)
    const seals = await db.selectFrom('audit_seals').selectAll().where('workspace_id', '=', workspaceId).execute()
    await tamper(sql`delete from audit_heads where workspace_id = ${workspaceId}`)
    await acts(6)
    expect((await verify()).valid).toBe(true)
    for (const seal of seals)
      await db
        .insertInto('audit_seals')
        .values({ ...seal, created_at: new Date() })
        .execute()
    expect(await verify()).toMatchObject({ valid: false, broken: { kind: 'checkpoint', seq: 6 } })
  })

  test('a log that was written anew together with its checkpoints, by a hash that was noted outside', async () => {
    const { head } = await verify()
    await tamper(sql`delete from audit_heads where workspace_id = ${workspaceId}`)
    await acts(6)
    const known = { known_seq: head!.seq, known_hash: head!.hash }
    expect(await verify(known)).toMatchObject({ valid: false, broken: { kind: 'known', seq: 6 } })
  })

  test('a beginning that was deleted, also where a checkpoint is passed off as the anchor of a retention', async () => {
    await auditService.tick(ctx)
    await tamper(sql`insert into audit_seals (workspace_id, kind, seq, hash, at, signature)
      select workspace_id, 'anchor', seq, hash, at, signature from audit_seals where workspace_id = ${workspaceId}`)
    await tamper(sql`delete from audit_logs where workspace_id = ${workspaceId}`)
    expect(await verify()).toMatchObject({ valid: false, broken: { kind: 'anchor' } })
  })

  test('is not signed by the next checkpoint, and is said in the log', async () => {
    await auditService.tick(ctx)
    await acts(4)
    await tamper(sql`delete from audit_logs where workspace_id = ${workspaceId} and seq = 8`)
    const errors: object[] = []
    const log = { ...ctx.log, error: (_: string, fields?: object) => void errors.push(fields ?? {}) }
    await auditService.tick({ ...ctx, log })
    const own = errors.filter((fields) => 'workspace_id' in fields && fields.workspace_id === workspaceId)
    expect(own).toMatchObject([{ seq: 8, kind: 'missing' }])
    expect(await verify()).toMatchObject({ valid: false, signed_seq: 7, broken: { seq: 8 } })
  })
})

test('a long log is verified in several calls, each from where the one before ended', async () => {
  await acts(7)
  const first = await verify({ limit: 3 })
  expect(first).toMatchObject({ valid: true, complete: false, checked: 3, to_seq: 3, next_from: 4 })
  const second = await verify({ limit: 100, from: first.next_from! })
  expect(second).toMatchObject({ valid: true, complete: true, checked: 4, from_seq: 4, to_seq: 7, next_from: null })
})

test('a retention cuts the beginning off, and what is left verifies from the signed anchor on', async () => {
  await acts(5)
  await db
    .insertInto('retention_policies')
    .values({
      workspace_id: workspaceId,
      executions_days: null,
      schedule_slots_days: null,
      webhook_logs_days: null,
      files_days: null,
      audit_days: 30,
      ledger_begins: null,
    })
    .execute()
  await auditService.tick(ctx)
  await database.shiftClock({ seconds: 31 * 86_400 })
  await acts(3)
  await auditService.tick(ctx)
  expect((await rows()).map(({ seq }) => Number(seq))).toEqual([6, 7, 8])
  expect(await verify()).toMatchObject({ valid: true, checked: 3, from_seq: 6, anchor: { seq: 5 }, signed_seq: 8 })
  await tamper(sql`delete from audit_logs where workspace_id = ${workspaceId} and seq = 6`)
  expect(await verify()).toMatchObject({ valid: false, broken: { seq: 6, kind: 'missing' } })
})

test('nothing is pruned that no checkpoint has signed', async () => {
  await acts(2)
  await database.shiftClock({ seconds: 4_000 * 86_400 })
  await tamper(sql`update audit_logs set action = 'thing.forged' where workspace_id = ${workspaceId} and seq = 1`)
  await auditService.tick(ctx)
  expect(await rows()).toHaveLength(2)
})
