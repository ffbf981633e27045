import type { Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { isUuid } from '../../lib/ids.ts'
import { cacheMs, callerCacheOf } from './caller-cache.ts'
import type { Caller } from './caller.ts'
import { issuersOf } from './issuers.ts'
import { enterOrg, findOrgWorkspace, hasOrg } from './orgs.ts'
import { findOrCreateUser, isNews, updateClaims, type FoundUser } from './users.ts'
import { verifyApiKey } from './verify-key.ts'
import { invalidToken, verifyToken, type TokenClaims } from './verify-token.ts'
import { verifyWidgetSession, widgetSessionPrefix } from './widget-session.ts'

/**
 * Who sends a credential, and in which workspace. `workspace` is an id or a slug, null where the request names none: then a
 * key acts in its own, and a user in the one of the token's organization or else the personal one. Answers without a promise
 * while the caller is remembered. Throws `unauthenticated`; `not-found` for a workspace that is not the caller's, whether it
 * exists or not.
 */
export function identify(runtime: Runtime, credential: string, workspace: string | null): Caller | Promise<Caller> {
  const isKey = credential.startsWith('ak_')
  if (!isKey && !credential.startsWith(widgetSessionPrefix)) return identifyUser(runtime, credential, workspace)
  const caller = isKey ? verifyApiKey(runtime, credential) : verifyWidgetSession(runtime, credential)
  if (workspace === null) return caller
  return caller instanceof Promise ? caller.then((key) => within(key, workspace)) : within(caller, workspace)
}

/** A key names its workspace, so it can only confirm it. */
function within(caller: Caller, workspace: string): Caller {
  if (workspace === caller.workspaceSlug || workspace.toLowerCase() === caller.actor.workspaceId) return caller
  throw noSuchWorkspace()
}

function identifyUser(runtime: Runtime, token: string, workspace: string | null): Caller | Promise<Caller> {
  if (issuersOf(runtime.config).length === 0) {
    throw new AppError(
      'unauthenticated',
      'This is no API key, and no identity provider is configured whose tokens count.',
    )
  }
  // An id may be spelled in many ways, each of which would be remembered apart.
  if (workspace !== null && isUuid(workspace)) workspace = workspace.toLowerCase()
  const name = cacheName(token, workspace)
  return callerCacheOf(runtime).get(name, runtime.clock.monotonicMs()) ?? lookUp(runtime, token, workspace, name)
}

/** A token holds no space. */
const cacheName = (token: string, workspace: string | null) => (workspace === null ? token : `${token} ${workspace}`)

async function lookUp(runtime: Runtime, token: string, workspace: string | null, name: string): Promise<Caller> {
  const cache = callerCacheOf(runtime)
  const generation = cache.generation()
  const startedMs = runtime.clock.monotonicMs()
  const claims = await verifyToken(runtime, token)
  const user = await findUser(runtime, claims, workspace)
  if (user.signedOut) throw invalidToken()
  if (isNews(user, claims)) runtime.defer(updateClaims(runtime, user.id, claims))
  if (user.member === null) throw noSuchWorkspace()
  const { workspaceId, slug, permissions } = user.member
  const { sessionId } = claims
  const caller: Caller = {
    kind: 'user',
    id: user.id,
    actor: {
      kind: 'user',
      id: user.id,
      workspaceId,
      permissions: new Set(permissions),
      ...(sessionId !== undefined && { sessionId }),
    },
    workspaceSlug: slug,
    budget: `user:${user.id}`,
    rateLimit: null,
    allowedDomains: [],
    allowsAddress: null,
  }
  const leftMs = claims.expiresAtS * 1000 - runtime.clock.now().getTime()
  cache.put(name, caller, startedMs + Math.min(cacheMs, leftMs), generation)
  return caller
}

/** A token that acts in an organization acts in its workspace, unless the request names another one. */
async function findUser(runtime: Runtime, claims: TokenClaims, workspace: string | null): Promise<FoundUser> {
  if (!hasOrg(claims)) return findOrCreateUser(runtime, claims, workspace)
  const org = await findOrgWorkspace(runtime, claims)
  const user = await findOrCreateUser(runtime, claims, workspace ?? org?.id ?? null)
  if (user.signedOut) return user
  if (org === undefined) {
    // Where only members come in, no token makes a workspace either.
    if (workspace !== null || runtime.config.authSignUp === 'members') return user
  } else if (user.member !== null || ![null, org.id, org.slug].includes(workspace)) return user
  await enterOrg(runtime, user.id, claims)
  const entered = org ?? (await findOrgWorkspace(runtime, claims))
  return entered ? findOrCreateUser(runtime, claims, entered.id) : user
}

/** The same words for a workspace of others and for none, without the name that was sent. */
const noSuchWorkspace = () => new AppError('not-found', 'The workspace that X-Workspace-ID names does not exist.')
