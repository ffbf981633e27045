import type { Config } from '../config.ts'
import type { ProblemKind } from '../lib/errors.ts'
import { problemTypes } from '../lib/errors.ts'
import { problemBody, problemMediaType } from './problems.ts'
import { newRequestId } from './request-id.ts'
import { securityHeaderBag } from './security-headers.ts'

/** What we need of a socket; `node:net` stays out of shared code. */
interface RawSocket {
  readonly writable: boolean
  end(text: string): unknown
  destroy(): unknown
}

/**
 * For Node's `clientError` event: a request that its parser refused (absurd headers, broken framing) never reaches the app,
 * so the problem document is written onto the socket.
 */
export function answerClientError(
  error: Error & { code?: string },
  socket: RawSocket,
  config: Pick<Config, 'environment'> = { environment: 'production' },
): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [kind, detail]: [ProblemKind, string] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? ['headers-too-large', 'The request headers are larger than this server reads.']
      : ['malformed', 'This is not an HTTP request that the server can read.']
  const { status, title } = problemTypes[kind]
  const requestId = newRequestId()
  const body = JSON.stringify(problemBody(kind, detail, '/', requestId))
  const headers: Record<string, string> = {
    'content-type': problemMediaType,
    'content-length': String(new TextEncoder().encode(body).byteLength),
    connection: 'close',
    'x-request-id': requestId,
    ...securityHeaderBag(config),
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.end(`HTTP/1.1 ${status} ${title}\r\n${lines.join('')}\r\n${body}`)
}
