import type { Actor, Runtime, ServiceContext } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isPermission, type Permission } from '../../lib/permissions.ts'
import { readToken, signToken } from '../signing/tokens.ts'
import type { Caller } from './caller.ts'
import { verifyMaker } from './verify-maker.ts'

const lifeMs = 5 * 60_000
const purpose = 'signed-address'

/** What a ticket says. What it opens is signed with it and stands in the address itself. */
interface Claims {
  /** Workspace. */
  w: string
  /** Maker. */
  k: 'key' | 'user'
  i: string
  /** The session of a user, which takes the ticket with it. */
  s?: string
  /** The text of the key, which does too. */
  h?: string
  /** The one permission that it lends. */
  p: Permission
}

/** A text that stands for the caller at one resource, with one permission, for five minutes. */
export async function issueTicket(
  ctx: Pick<ServiceContext, 'actor' | 'cipher' | 'clock' | 'random'>,
  { resource, permission }: { resource: string; permission: Permission },
): Promise<{ ticket: string; expiresAt: Date }> {
  const { actor } = ctx
  const claims = {
    w: actor.workspaceId,
    k: makerKind(actor),
    i: actor.id,
    ...(actor.sessionId !== undefined && { s: actor.sessionId }),
    ...(actor.keyHash !== undefined && { h: actor.keyHash }),
    p: permission,
  } satisfies Claims
  const expiresAt = new Date(ctx.clock.now().getTime() + lifeMs)
  return { ticket: await signToken(ctx, purpose, claims, lifeMs / 1000, resource), expiresAt }
}

/**
 * Who made the ticket, holding no more than the permission that it lends. Throws `unauthenticated` where it is changed,
 * expired, or of another resource, and where its maker is no longer let in.
 */
export async function verifyTicket(runtime: Runtime, ticket: string, resource: string): Promise<Caller> {
  const opened = await readToken(runtime, purpose, ticket, resource)
  if (opened === null) throw refused()
  // Safe: the signature says that these are claims that `issueTicket` wrote.
  const { w, k, i, s, h, p } = opened.payload as unknown as Claims
  const madeAt = new Date(opened.expiresAt.getTime() - lifeMs)
  const maker = await verifyMaker(runtime, { kind: k, id: i, workspaceId: w, madeAt, sessionId: s, keyHash: h })
  const lent = maker.actor.permissions.has(p) && isPermission(p) ? [p] : []
  return { ...maker, actor: { ...maker.actor, permissions: new Set(lent) } }
}

function makerKind({ kind }: Actor): 'key' | 'user' {
  if (kind === 'system') throw new Error('Only who has signed in makes tickets.')
  return kind
}

const refused = () =>
  new AppError('unauthenticated', 'The ticket is not valid: it was changed, is expired or belongs to another address.')
