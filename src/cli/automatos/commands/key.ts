import type { Command } from 'commander'
import type { ApiKey, NewApiKey } from '../../../../clients/typescript/src/index.ts'
import { parseDuration } from '../../../lib/duration.ts'
import { CliError } from '../cli-error.ts'
import { parseLimit, showPage, takeItems, type ListOptions } from '../pages.ts'
import { addCommand, addGroup, type Outcome, type Session } from '../session.ts'
import type { Terminal } from '../terminal.ts'
import { localTime } from '../text.ts'
import { wholeNumber } from '../whole-number.ts'

interface CreateOptions {
  scopes?: string
  expires?: string
  kind?: 'server' | 'widget'
  rateLimit?: number
  domain?: string[]
}

export function addKeyCommands(program: Command, { run }: Outcome): void {
  const key = addGroup(program, 'key', 'API keys of the workspace.')

  addCommand(key, 'create <name>', 'Make a key. Its text is printed this once, alone on standard output.', [
    'key create "Deploy pipeline" --scopes recipes:read,recipes:execute,executions:read --expires 90d',
    'AUTOMATOS_API_KEY=$(automatos key create ci --scopes editor)',
  ])
    .option(
      '--scopes <list>',
      'permissions with commas between them, or a role: owner, admin, editor, viewer or one of the workspace',
    )
    .option('--expires <when>', 'a duration from now (90d, 12h) or an ISO time; default never')
    .option('--kind <kind>', 'server or widget')
    .option('--rate-limit <n>', 'requests a minute', wholeNumber('--rate-limit'))
    .option('--domain <domain...>', 'widget keys: pages that may use it')
    .action(run<[string], CreateOptions>(createKey))

  addCommand(key, 'list', 'List keys, newest first, without their text.', ['key list'])
    .option('-n, --limit <n>', 'how many at most', parseLimit, 50)
    .action(run<[], ListOptions>(listKeys))

  addCommand(key, 'revoke <key>', 'Revoke a key for good, by its id.', ['key revoke 01939f3c-…']).action(
    run<[string], object>(async ({ api, terminal }, _, id) => {
      await api.revokeApiKey({ path: { api_key: id } })
      if (terminal.json) return terminal.document({ id, revoked: true })
      terminal.line(`Key ${id} is revoked.`)
    }),
  )
}

async function createKey({ api, terminal }: Session, options: CreateOptions, name: string): Promise<void> {
  const { data } = await api.createApiKey({ body: toNewKey(name, options) })
  if (terminal.json) return terminal.document(data)
  terminal.line(data.key)
  terminal.note(`Key ${data.id} is made. Its text is not shown again.`)
  if (data.scopes.length === 0) terminal.note('It has no scopes and may do nothing: see --scopes.')
}

function toNewKey(name: string, { scopes, expires, kind, rateLimit, domain }: CreateOptions): NewApiKey {
  const list = scopes?.split(',').map((scope) => scope.trim())
  // Every permission has a colon and no role has one.
  const isRole = list?.length === 1 && list[0] !== '' && !list[0]!.includes(':')
  return {
    name,
    // Safe: the server knows what permissions there are, and says which of these is none.
    ...(list && { scopes: (isRole ? list[0] : list) as NewApiKey['scopes'] }),
    ...(expires !== undefined && { expires_at: instantOf(expires) }),
    ...(kind && { kind }),
    ...(rateLimit !== undefined && { rate_limit: rateLimit }),
    ...(domain && { allowed_domains: domain }),
  }
}

function instantOf(when: string): string {
  const ms = parseDuration(when)
  const at = ms === null ? Date.parse(when) : Date.now() + ms
  if (Number.isNaN(at)) throw new CliError(`--expires takes a duration such as 90d or an ISO time, not ${when}.`)
  return new Date(at).toISOString()
}

async function listKeys(session: Session, { limit }: ListOptions): Promise<void> {
  const { api, terminal } = session
  const page = await takeItems(limit, (query) => api.listApiKeys({ query }))
  showPage(
    session,
    page,
    [
      { title: 'KEY', of: ({ id }) => id, fixed: true },
      { title: 'NAME', of: ({ name }) => name },
      { title: 'PREFIX', of: ({ prefix }) => prefix },
      { title: 'STATE', of: stateOf, paint: (text, item) => paintState(terminal, stateOf(item), text) },
      { title: 'LAST USED', of: ({ last_used_at }) => localTime(last_used_at) },
      { title: 'EXPIRES', of: ({ expires_at }) => localTime(expires_at) },
      { title: 'SCOPES', of: ({ scopes }) => scopes.join(' ') },
    ],
    { many: 'keys' },
  )
}

type State = 'active' | 'expired' | 'revoked'

function stateOf({ revoked_at, expires_at }: ApiKey): State {
  if (revoked_at !== null) return 'revoked'
  return expires_at !== null && Date.parse(expires_at) <= Date.now() ? 'expired' : 'active'
}

const paintState = ({ style }: Terminal, state: State, text: string) =>
  state === 'active' ? style.green(text) : style.dim(text)
