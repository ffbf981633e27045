import type { Command } from 'commander'
import type { Health, Workspace } from '../../../../clients/typescript/src/index.ts'
import { exitCodes } from '../exit-codes.ts'
import { addCommand, type Outcome, type Session } from '../session.ts'
import { printFields, printTable } from '../table.ts'
import type { Terminal } from '../terminal.ts'

export function addStatusCommand(program: Command, { run }: Outcome): void {
  addCommand(program, 'status', 'Show whether the server is well, and what the key opens.', [
    'status',
    'status --url https://automatos.example --json',
  ]).action(run<[], object>(showStatus))
}

async function showStatus(session: Session): Promise<number> {
  const { connection, terminal } = session
  const health = await healthOf(session)
  const workspace = connection.key === undefined ? null : await workspaceOf(session)
  const exitCode = health.status === 'unhealthy' ? exitCodes.serverFailed : exitCodes.ok
  if (terminal.json) {
    terminal.document({ url: connection.url, ...health, key_source: connection.keySource, workspace })
    return exitCode
  }
  terminal.line(paintHealth(terminal, health.status, `● ${health.status}`))
  printFields(terminal, [
    ['server', connection.url],
    ['version', `${health.version} on ${health.platform}`],
    ['key', connection.keySource ?? 'none: set AUTOMATOS_API_KEY'],
    ['workspace', workspace?.name],
  ])
  terminal.line()
  printTable(terminal, Object.entries(health.components), [
    { title: 'COMPONENT', of: ([name]) => name },
    {
      title: 'STATUS',
      of: ([, { status }]) => status,
      paint: (text, [, { status }]) => paintHealth(terminal, status, text),
    },
    { title: 'ANSWERED IN', of: ([, { latency_ms }]) => (latency_ms == null ? '' : `${latency_ms} ms`) },
    { title: 'ABOUT', of: ([, { detail }]) => detail },
  ])
  return exitCode
}

async function healthOf({ api }: Session): Promise<Health> {
  try {
    return (await api.getHealth()).data
  } catch (error) {
    const { ApiError } = await import('../../../../clients/typescript/src/index.ts')
    // A server that cannot serve still says what is wrong with it.
    if (error instanceof ApiError && isHealth(error.body)) return error.body
    throw error
  }
}

const isHealth = (body: unknown): body is Health => typeof body === 'object' && body !== null && 'components' in body

/** Null where the key may not see it or the database is away; a key that is refused is an error. */
async function workspaceOf({ api }: Session): Promise<Workspace | null> {
  try {
    return (await api.getCurrentWorkspace()).data
  } catch (error) {
    const { ApiError } = await import('../../../../clients/typescript/src/index.ts')
    if (error instanceof ApiError && (error.status === 403 || error.status >= 500)) return null
    throw error
  }
}

function paintHealth({ style }: Terminal, status: Health['status'], text: string): string {
  if (status === 'healthy') return style.green(text)
  return status === 'degraded' ? style.yellow(text) : style.red(text)
}
