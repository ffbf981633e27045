import type { Config } from '../../config.ts'
import type { SignIn } from '../../context.ts'
import { EgressError } from '../../lib/egress-error.ts'
import { createAllowList, matchesHostPattern, parseHostPattern } from '../../lib/net/host-pattern.ts'
import { createDestinationCheck, refused, type EgressRules } from '../egress/destination.ts'
import type { Refusal } from '../egress.ts'
import { resolveAddresses } from './pinned-fetch.ts'
import { PostgresRefusal, signInAtPostgres } from './postgres-sign-in.ts'
import { inSession, SmtpError } from './smtp.ts'

const timeoutMs = 10_000

interface Target {
  host: string
  address: string
  port: number
  /** The operator has opened the place: a password may go there in the clear. */
  trusted: boolean
}

/** Signs in at mail servers and databases, at the addresses that were checked and at no other. */
export function createSignIn(
  config: Pick<Config, 'egressAllow'>,
  rules: (workspaceId: string) => Promise<EgressRules | null>,
  onRefused: (refusal: Refusal) => void,
  resolve = resolveAddresses,
): SignIn {
  const destinations = createDestinationCheck(createAllowList(config.egressAllow), resolve)
  const kinds = { smtp: signInToSmtp, postgres: signInToPostgres }
  return async (kind, fields, { workspaceId, hosts }) => {
    const host = fields['host'] ?? ''
    const port = Number(fields['port'])
    try {
      await signIn(kind, fields, { host, port, workspaceId, hosts })
    } catch (error) {
      const reason = error instanceof EgressError ? error.reason : null
      if (reason !== null) onRefused({ workspaceId, host: `${host}:${port}`, reason, tool: 'credential-test' })
      throw error
    }
  }

  async function signIn(
    kind: keyof typeof kinds,
    fields: Readonly<Record<string, string>>,
    { host, port, workspaceId, hosts }: { host: string; port: number; workspaceId: string; hosts: readonly string[] },
  ): Promise<void> {
    const isBound = hosts.some((text) => {
      const pattern = parseHostPattern(text)
      return pattern !== null && matchesHostPattern(pattern, host, port)
    })
    if (!isBound) throw refused('credential', `The credential is not bound to ${host}:${port}.`)
    const { addresses, trusted } = await destinations.socket(host, port, await rules(workspaceId))
    const signal = AbortSignal.timeout(timeoutMs)
    const timeUp = new Promise<never>((_, reject) => {
      const stop = () => reject(new EgressError('egress-timeout', `No answer within ${timeoutMs} ms.`))
      signal.addEventListener('abort', stop, { once: true })
    })
    timeUp.catch(() => {})
    await Promise.race([kinds[kind](fields, { host, port, address: addresses![0]!, trusted }, signal), timeUp])
  }
}

async function signInToSmtp(fields: Readonly<Record<string, string>>, target: Target, signal: AbortSignal) {
  const { username = '', password = '', tls } = fields
  const server = { ...target, secure: tls === 'implicit', user: username, password, mayBeClear: target.trusted }
  try {
    await inSession(server, signal, async () => {})
  } catch (error) {
    throw failed(target, error instanceof SmtpError ? `The mail server answered ${error.code}.` : null, error)
  }
}

async function signInToPostgres(fields: Readonly<Record<string, string>>, target: Target, signal: AbortSignal) {
  const { database = '', username = '', password = '', tls } = fields
  if (tls === 'disable' && !target.trusted)
    throw refused('credential', `A password is not sent to ${target.host} without TLS.`)
  const how = tls === 'disable' || tls === 'verify-full' ? tls : 'require'
  try {
    await signInAtPostgres({ ...target, database, username, password, tls: how }, signal)
  } catch (error) {
    throw failed(target, error instanceof PostgresRefusal ? error.message : null, error)
  }
}

/** Of errors of ours nothing is told: they may name an address that a name resolves to. */
const failed = ({ host, port }: Target, detail: string | null, cause: unknown) =>
  cause instanceof EgressError
    ? cause
    : new EgressError('egress-failed', detail ?? `No session with ${host}:${port} came about.`, { cause })
