import type { z } from '@hono/zod-openapi'
import { problemTypes, type ProblemKind } from '../errors.ts'
import type { Operation } from '../operation.ts'

const exampleDetails: Partial<Record<ProblemKind, string>> = {
  malformed: 'The body is not valid JSON: unexpected text at position 17.',
  unauthenticated: 'An API key or the token of a user is required: send it as a Bearer token, a key also as X-API-Key.',
  forbidden: 'This needs the permission agents:write.',
  'not-found': 'Agent 0192f0c1-7a3b-7cc0-8f00-000000000000 does not exist.',
  conflict: 'The slug is taken.',
  'request-in-progress': 'The first request with this Idempotency-Key has not been answered yet.',
  'precondition-failed': 'It was changed since the version that If-Match names. Read it again.',
  'too-large': 'The request body is larger than 10485760 bytes.',
  'unsupported-media-type': 'The body must be sent as application/json.',
  invalid: '/name: must be a text',
  'idempotency-key-reused': 'This Idempotency-Key was used for another request.',
  'rate-limited': 'Too many requests: 600 are allowed. Try again in 12 s.',
  internal: 'The server failed to answer.',
  'upstream-failed': 'The model provider failed.',
  unavailable: 'The database does not answer.',
  'not-configured': 'This part is switched off: set HEARTBEAT_ENABLED=true.',
  'model-not-configured': 'No model is configured.',
  'schema-behind': 'The database lacks 0003-schedules. Run: npm run migrate',
  timeout: 'No answer within the time that was allowed.',
}

/** The problems an operation can answer: those that it declares and those that its access and input imply. */
export function problemKinds(operation: Operation): ProblemKind[] {
  const { access, kind = 'api', params, query, headers, body, problems = [] } = operation
  const kinds: ProblemKind[] = [...problems, 'internal']
  if (operation.requires) kinds.push('not-configured')
  if (access !== 'public') kinds.push('unauthenticated', 'forbidden', 'not-found', 'schema-behind', 'unavailable')
  if (kind === 'api' || kind === 'page') kinds.push('rate-limited')
  if (params || query || headers || body) kinds.push('malformed', 'invalid')
  if (operation.etag === 'change') kinds.push('precondition-failed', 'invalid')
  if (operation.idempotent) kinds.push('malformed', 'invalid', 'idempotency-key-reused')
  if (operation.idempotent === 'stored' || operation.idempotent === 'sealed') kinds.push('request-in-progress')
  if (operation.rawBody) kinds.push('malformed', 'invalid')
  if (body || operation.rawBody) kinds.push('too-large', 'unsupported-media-type')
  // Another method than the one of the path is refused, whatever the path.
  if (kind === 'health') kinds.push('method-not-allowed')
  return [...new Set(kinds)]
}

/** One response a status: kinds that share it are told apart by the problem's `type`. */
export function problemResponses(operation: Operation, path: string, schema: z.ZodType) {
  const byStatus = new Map<number, ProblemKind[]>()
  for (const kind of problemKinds(operation)) {
    const { status } = problemTypes[kind]
    byStatus.set(status, [...(byStatus.get(status) ?? []), kind])
  }
  return Object.fromEntries(
    [...byStatus].map(([status, kinds]) => [
      String(status),
      {
        description: kinds.map((kind) => `${problemTypes[kind].title} (\`${kind}\`)`).join('; '),
        ...((status === 429 || status === 503 || kinds.includes('request-in-progress')) && {
          headers: { 'Retry-After': { description: 'Whole seconds to wait.', schema: { type: 'string' as const } } },
        }),
        content: { 'application/problem+json': { schema, example: exampleOf(kinds[0]!, path) } },
      },
    ]),
  )
}

function exampleOf(kind: ProblemKind, path: string) {
  const { status, title } = problemTypes[kind]
  return {
    type: `/problems/${kind}`,
    title,
    status,
    detail: exampleDetails[kind] ?? title,
    instance: path,
    request_id: '9f2c41d07be3',
    ...(kind === 'invalid' && { errors: [{ pointer: '/name', detail: 'must be a text' }] }),
  }
}
