import { expect, test } from 'vitest'
import { createSigning } from '../../../src/runtime/signing.ts'
import { retentionService } from '../../../src/services/retention.service.ts'
import { openToken, readToken, signToken, spendToken, type TokenPurpose } from '../../../src/services/signing/tokens.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createServiceContext } from '../../support/service-context.ts'

const database = await createTestDatabase()
const base = await createServiceContext(database)
const workspaceId = base.actor.workspaceId

function setUp() {
  let nowMs = Date.now()
  const clock = { now: () => new Date(nowMs), monotonicMs: () => nowMs }
  return { ctx: { ...base, clock }, advance: (ms: number) => void (nowMs += ms), now: () => nowMs }
}

test('a token says what was signed, as often as it is shown, until it ends', async () => {
  const { ctx, advance, now } = setUp()
  const payload = { k: 'é🙂', list: [1, null, 'x'] }
  const token = await signToken(ctx, 'widget-session', payload, 60)
  expect(token).toMatch(/^[\w-]+\.test\.[\w-]{43}$/)
  expect(await readToken(ctx, 'widget-session', token)).toMatchObject({ payload, expiresAt: new Date(now() + 60_000) })
  advance(59_999)
  expect(await openToken(ctx, 'widget-session', token)).toEqual(payload)
  advance(1)
  expect(await openToken(ctx, 'widget-session', token)).toBeNull()
})

test('a token of one purpose is nothing to any other, nor beside what it was signed for', async () => {
  const { ctx } = setUp()
  const purposes: TokenPurpose[] = ['signed-address', 'approval-link', 'widget-session', 'oauth-state']
  for (const made of purposes) {
    const token = await signToken(ctx, made, { workspace_id: workspaceId }, 60, 'here')
    for (const asked of purposes) {
      expect((await openToken(ctx, asked, token, 'here')) !== null, `${made} as ${asked}`).toBe(made === asked)
    }
    for (const about of ['', 'there', 'here\n']) expect(await openToken(ctx, made, token, about)).toBeNull()
  }
  expect(await ctx.cipher.verify('text', await ctx.cipher.sign('text', 'token widget-session'), 'widget-session')).toBe(
    false,
  )
})

test('whatever is changed in a token, it opens nothing', async () => {
  const { ctx } = setUp()
  const token = await signToken(ctx, 'approval-link', 'x', 60)
  for (let i = 0; i < token.length; i++) {
    const other = token[i] === 'A' ? 'B' : 'A'
    const changed = token.slice(0, i) + other + token.slice(i + 1)
    // The last character of 43 carries four bits: some of its spellings are the same signature.
    if (i < token.length - 1) expect(await openToken(ctx, 'approval-link', changed), String(i)).toBeNull()
  }
  const [body, ...signature] = token.split('.')
  const longer = btoa(JSON.stringify([9e15, 'id', 'x']))
  for (const forged of [
    '',
    '.',
    body!,
    `${body}.`,
    `${body}..`,
    `.${signature.join('.')}`,
    `${longer}.${signature.join('.')}`,
    `${token}.x`,
    'x'.repeat(100_000),
  ]) {
    expect(await openToken(ctx, 'approval-link', forged), forged.slice(0, 60)).toBeNull()
  }
})

test('another installation signs and opens with keys of its own; a rotated ring opens what the old key has signed', async () => {
  const { ctx } = setUp()
  const keyOf = (id: string, fill: number) => ({ id, bytes: new Uint8Array(32).fill(fill) })
  const withRing = (...ring: { id: string; bytes: Uint8Array<ArrayBuffer> }[]) => ({
    ...ctx,
    cipher: { ...ctx.cipher, ...createSigning(ring) },
  })
  const token = await signToken(withRing(keyOf('a', 1)), 'widget-session', 7, 60)
  expect(await openToken(withRing(keyOf('a', 2)), 'widget-session', token)).toBeNull()
  expect(await openToken(withRing(keyOf('b', 2), keyOf('a', 1)), 'widget-session', token)).toBe(7)
  expect(await openToken(withRing(keyOf('b', 2)), 'widget-session', token)).toBeNull()
})

test('a token is spent once, by one of any number at once, however it is spelled', async () => {
  const { ctx } = setUp()
  const sign = () => signToken(ctx, 'oauth-state', { workspace_id: workspaceId, slug: 's' }, 60)
  const token = await sign()
  const all = await Promise.all(Array.from({ length: 10 }, () => spendToken(ctx, 'oauth-state', token)))
  expect(all.filter((payload) => payload !== null)).toEqual([{ workspace_id: workspaceId, slug: 's' }])
  expect(await spendToken(ctx, 'oauth-state', `${token}=`)).toBeNull()
  expect(await spendToken(ctx, 'oauth-state', await sign())).toMatchObject({ slug: 's' })
  expect(await spendToken(ctx, 'oauth-state', 'nonsense')).toBeNull()
})

test('what is spent in a transaction that fails is not spent', async () => {
  const { ctx } = setUp()
  const token = await signToken(ctx, 'oauth-state', { workspace_id: workspaceId }, 60)
  const failing = ctx.db.transaction().execute(async (db) => {
    expect(await spendToken({ ...ctx, db }, 'oauth-state', token)).not.toBeNull()
    throw new Error('no')
  })
  await expect(failing).rejects.toThrow('no')
  expect(await spendToken(ctx, 'oauth-state', token)).not.toBeNull()
})

test('a spent token is remembered an hour beyond its end, for clocks that differ, and then forgotten', async () => {
  const { ctx } = setUp()
  const token = await signToken(ctx, 'oauth-state', { workspace_id: workspaceId }, 60)
  await spendToken(ctx, 'oauth-state', token)
  const { id } = (await readToken(ctx, 'oauth-state', token))!
  const known = async () =>
    (await database.db.selectFrom('spent_tokens').select('id').where('id', '=', id).execute()).length
  try {
    await database.shiftClock({ seconds: 3_600 + 55 })
    await retentionService.tick(ctx)
    expect(await known()).toBe(1)
    await database.shiftClock({ seconds: 3_600 + 65 })
    await retentionService.tick(ctx)
    expect(await known()).toBe(0)
  } finally {
    await database.shiftClock({ seconds: 0 })
  }
})
