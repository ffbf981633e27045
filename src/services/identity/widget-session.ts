import type { Runtime } from '../../context.ts'
import { AppError } from '../../lib/errors.ts'
import { readToken, signToken } from '../signing/tokens.ts'
import type { Caller } from './caller.ts'
import { verifyApiKey, verifyApiKeyId } from './verify-key.ts'

export const widgetSessionPrefix = 'wst_'
const lifeMs = 3_600_000
const purpose = 'widget-session'

/** What a session token says: the key that it was given for, and the page that it is good on. */
interface Claims {
  k: string
  /** Which of its texts: the session ends with that. Empty in those of older versions, which end with the key. */
  h?: string
  /** Host of the page; null = the exchange came from no page, so it is good on any. */
  o: string | null
}

export interface WidgetSession {
  sessionToken: string
  expiresAt: Date
  workspaceId: string
}

/**
 * Gives a token for a server key, so that a page need not hold the key (`POST /api/widgets/auth`). It opens what a widget key
 * opens, on the origin that asked, for an hour at most: no longer than the key itself. A public key needs none.
 */
export async function openWidgetSession(
  runtime: Runtime,
  { apiKey, origin, address }: { apiKey: string; origin: string | null; address: string },
): Promise<WidgetSession> {
  const caller = await verifyApiKey(runtime, apiKey)
  if (caller.kind === 'widget' || (caller.allowsAddress !== null && !caller.allowsAddress(address))) {
    throw new AppError('forbidden', 'This key cannot be exchanged')
  }
  const claims = {
    k: caller.id,
    h: caller.actor.keyHash ?? '',
    o: origin === null ? null : hostOf(origin),
  } satisfies Claims
  const token = await signToken(runtime, purpose, claims, lifeMs / 1000)
  return {
    sessionToken: `${widgetSessionPrefix}${token}`,
    expiresAt: new Date(runtime.clock.now().getTime() + lifeMs),
    workspaceId: caller.actor.workspaceId,
  }
}

/** Whose session it is: the key's, which is asked for each time, with nothing but what a widget may do. */
export async function verifyWidgetSession(runtime: Runtime, credential: string): Promise<Caller> {
  const opened = await readToken(runtime, purpose, credential.slice(widgetSessionPrefix.length))
  if (opened === null) throw refused()
  // Safe: the signature says that these are claims that `openWidgetSession` wrote.
  const { k, h, o } = opened.payload as unknown as Claims
  const key = await verifyApiKeyId(runtime, k, h)
  return { ...key, kind: 'widget', actor: { ...key.actor, permissions: new Set() }, allowedDomains: [o ?? '*'] }
}

/** As a key's list of domains would name it. What is no origin of the web is on no list. */
function hostOf(origin: string): string {
  const url = URL.canParse(origin) ? new URL(origin) : null
  if (url?.protocol !== 'https:' && url?.protocol !== 'http:') {
    throw new AppError('forbidden', 'A session is for a page with an address of its own')
  }
  return `${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`
}

const refused = () => new AppError('unauthenticated', 'The session is not valid: it was changed or is expired.')
