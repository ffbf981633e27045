import type { ApiError, UnreachableError } from '../../../clients/typescript/src/index.ts'
import { CliError, type FileFault } from './cli-error.ts'
import type { Connection } from './connection.ts'
import { exitCodeOf, exitCodes } from './exit-codes.ts'
import type { Terminal } from './terminal.ts'

interface Report {
  exitCode: number
  kind: string
  detail: string
  faults: (FileFault | { pointer: string; detail: string })[]
  requestId: string | null
}

/** Says what went wrong on standard error, with --json as one JSON line, and gives the exit code. */
export async function reportError(terminal: Terminal, error: unknown, connection?: Connection): Promise<number> {
  const { exitCode, kind, detail, faults, requestId } = await explain(error, connection)
  if (terminal.json) {
    terminal.note(
      JSON.stringify({ error: { exit_code: exitCode, kind, detail, errors: faults, request_id: requestId } }),
    )
    return exitCode
  }
  terminal.error(detail)
  for (const fault of faults) terminal.note(`  ${faultLine(fault)}`)
  if (requestId !== null && exitCode === exitCodes.serverFailed) terminal.note(`  Request ${requestId}`)
  return exitCode
}

/** `digest.yaml:12:5  /steps/0/kind  is no kind of step` */
export function faultLine(fault: Report['faults'][number]): string {
  const place =
    'file' in fault ? [fault.file, fault.line, fault.column].filter((part) => part !== null).join(':') : null
  return [place, fault.pointer, fault.detail].filter((part) => part !== null && part !== '').join('  ')
}

async function explain(error: unknown, connection: Connection | undefined): Promise<Report> {
  const plain = { faults: [], requestId: null }
  if (error instanceof CliError) {
    return { ...plain, exitCode: error.exitCode, kind: 'cli', detail: error.message, faults: error.faults }
  }
  const client = await import('../../../clients/typescript/src/index.ts')
  if (error instanceof client.ApiError) return explainAnswer(error, connection)
  if (error instanceof client.UnreachableError) {
    return { ...plain, exitCode: exitCodes.unreachable, kind: 'unreachable', detail: nobodyThere(error, connection) }
  }
  // A fault of this program: its stack is what a report of it needs.
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { ...plain, exitCode: exitCodes.internal, kind: 'internal', detail }
}

function explainAnswer(error: ApiError, connection: Connection | undefined): Report {
  const { status, kind, message, faults, requestId } = error
  const exitCode = exitCodeOf(status)
  // The faults say it all; the sentence above them repeats a single one.
  const detail = status === 401 ? refused(message, connection) : faults.length > 0 ? 'The input is not valid.' : message
  return { exitCode, kind: kind ?? `http-${status}`, detail, faults, requestId }
}

function refused(message: string, connection: Connection | undefined): string {
  if (connection?.keySource) return `The server does not accept the key from ${connection.keySource}: ${message}`
  return 'No API key. Set AUTOMATOS_API_KEY, or run this in the folder of a local server.'
}

function nobodyThere(error: UnreachableError, connection: Connection | undefined): string {
  const url = connection?.url ?? error.url
  const cause = (error.cause as { cause?: { code?: string } } | undefined)?.cause?.code
  const why = cause === undefined || cause === 'ECONNREFUSED' ? '' : ` (${cause})`
  return `Nothing answers at ${url}${why}. Start it with \`npm start\` or \`npx automatos serve\`, or set AUTOMATOS_URL.`
}
