import type { Actor, Runtime, ServiceContext } from '../../context.ts'
import { fromBase64Url, toBase64Url } from '../../lib/base64url.ts'
import { AppError } from '../../lib/errors.ts'
import { isPermission, type Permission } from '../../lib/permissions.ts'
import type { Caller } from './caller.ts'
import { verifyMaker } from './verify-maker.ts'

const lifeMs = 5 * 60_000
const purpose = 'ticket'
/** Ours have about 300 characters; nothing longer is worth a look. */
const longest = 1_000

/** What a ticket says. What it opens is signed with it and stands in the address itself. */
interface Claims {
  /** Workspace. */
  w: string
  /** Maker. */
  k: 'key' | 'user'
  i: string
  /** The one permission that it lends. */
  p: Permission
  /** When it ends, in milliseconds. */
  e: number
}

/** A text that stands for the caller at one resource, with one permission, for five minutes. */
export async function issueTicket(
  { actor, cipher, clock }: Pick<ServiceContext, 'actor' | 'cipher' | 'clock'>,
  { resource, permission }: { resource: string; permission: Permission },
): Promise<{ ticket: string; expiresAt: Date }> {
  const expiresAt = new Date(clock.now().getTime() + lifeMs)
  const claims: Claims = {
    w: actor.workspaceId,
    k: makerKind(actor),
    i: actor.id,
    p: permission,
    e: expiresAt.getTime(),
  }
  const payload = toBase64Url(new TextEncoder().encode(JSON.stringify(claims)))
  return { ticket: `${payload}.${await cipher.sign(signed(payload, resource), purpose)}`, expiresAt }
}

/**
 * Who made the ticket, holding no more than the permission that it lends. Throws `unauthenticated` where it is changed,
 * expired, or of another resource, and where its maker is no longer let in.
 */
export async function verifyTicket(runtime: Runtime, ticket: string, resource: string): Promise<Caller> {
  const split = ticket.indexOf('.')
  if (split === -1 || ticket.length > longest) throw refused()
  const payload = ticket.slice(0, split)
  const isOurs = await runtime.cipher.verify(signed(payload, resource), ticket.slice(split + 1), purpose)
  if (!isOurs) throw refused()
  const { w, k, i, p, e } = readClaims(payload)
  if (e <= runtime.clock.now().getTime()) throw refused()
  const maker = await verifyMaker(runtime, { kind: k, id: i, workspaceId: w, madeAt: new Date(e - lifeMs) })
  const lent = maker.actor.permissions.has(p) && isPermission(p) ? [p] : []
  return { ...maker, actor: { ...maker.actor, permissions: new Set(lent) } }
}

const signed = (payload: string, resource: string) => `${payload}\n${resource}`

/** Safe: the signature says that these are claims that `issueTicket` wrote. */
const readClaims = (payload: string) => JSON.parse(new TextDecoder().decode(fromBase64Url(payload)!)) as Claims

function makerKind({ kind }: Actor): 'key' | 'user' {
  if (kind === 'system') throw new Error('Only who has signed in makes tickets.')
  return kind
}

const refused = () =>
  new AppError('unauthenticated', 'The ticket is not valid: it was changed, is expired or belongs to another address.')
