import { OpenAPIHono, z } from '@hono/zod-openapi'
import { problemTypes } from '../errors.ts'
import { replayedHeader } from '../idempotency-key.ts'
import type { Operation, RouteGroup } from '../operation.ts'
import { withRequirement } from '../requirement.ts'
import { productName, version } from '../version.ts'
import { etagHeader, notModified, withPrecondition } from './preconditions.ts'
import { authenticationGuide } from './authentication-guide.ts'
import { problemResponses } from './problem-responses.ts'

export type OpenApiDocument = ReturnType<OpenAPIHono['getOpenAPI31Document']>

/** The OpenAPI 3.1 document of these groups. Made from the same declarations that route and validate the requests. */
export function createDocument(groups: readonly RouteGroup[], apiUrl: string): OpenApiDocument {
  const app = new OpenAPIHono()
  const registry = app.openAPIRegistry
  registry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    description: 'An API key (`ak_srv_…`) as a Bearer token.',
  })
  registry.registerComponent('securitySchemes', 'jwt', {
    type: 'http',
    scheme: 'bearer',
    bearerFormat: 'JWT',
    description: 'The token of a user, from the identity provider that the server trusts. See `X-Workspace-ID`.',
  })
  registry.registerComponent('parameters', 'WorkspaceId', workspaceHeader)
  registry.registerComponent('securitySchemes', 'apiKey', {
    type: 'apiKey',
    in: 'header',
    name: 'X-API-Key',
    description: 'An API key (`ak_srv_…`) in its own header.',
  })
  registry.registerComponent('securitySchemes', 'ticket', {
    type: 'apiKey',
    in: 'query',
    name: 'ticket',
    description:
      'The ticket of a signed address, for what can send no headers. It opens that one address for five minutes.',
  })
  registry.register('Problem', Problem)

  for (const group of groups) {
    for (const operation of group.operations) {
      if (!isDocumented(operation)) continue
      for (const { event } of Object.values(operation.responses)) {
        if (event) registry.register(event.name, event.schema)
      }
      registry.registerPath(describeOperation(group.prefix, group.tag, withRequirement(group, operation)))
    }
  }
  // Two groups may share a tag; the first one describes it.
  const tags = new Map<string, string>()
  for (const { tag, description, operations } of groups) {
    if (operations.some(isDocumented) && !tags.has(tag)) tags.set(tag, description)
  }
  return app.getOpenAPI31Document({
    openapi: '3.1.0',
    info: {
      title: productName,
      version,
      description: authenticationGuide,
      license: { name: 'Apache-2.0', url: 'https://www.apache.org/licenses/LICENSE-2.0' },
    },
    servers: [{ url: apiUrl, description: 'This server' }],
    tags: [...tags].map(([name, description]) => ({ name, description })),
  })
}

/** What every operation with a caller understands, described once. */
const workspaceHeader = {
  name: 'X-Workspace-ID',
  in: 'header' as const,
  required: false,
  description:
    'Id or slug of the workspace to act in. A user acts in the personal one without it. A key has one workspace and needs no header; another one than its own answers 404.',
  schema: { type: 'string' as const },
  // No example: the documentation page would send it, and no caller has that workspace.
}

const isDocumented = (operation: Operation) => operation.documented !== false

const Fault = z
  .object({
    pointer: z
      .string()
      .openapi({ description: 'JSON pointer; `/query/…`, `/params/…`, `/headers/…` outside the body.' }),
    detail: z.string(),
  })
  .openapi('Fault', { example: { pointer: '/name', detail: 'must not be empty' } })

const Problem = z
  .object({
    type: z
      .enum(Object.keys(problemTypes).map((kind) => `/problems/${kind}`) as [string, ...string[]])
      .openapi({ description: 'What kind of problem this is. Kinds are added, never renamed.' }),
    title: z.string(),
    status: z.int(),
    detail: z.string().openapi({ description: 'What happened this time, in a sentence that may be shown.' }),
    instance: z.string().openapi({ description: 'The path of the request.' }),
    request_id: z.string(),
    errors: z.array(Fault).optional().openapi({ description: 'Every fault of the input.' }),
  })
  .openapi('Problem', { description: 'RFC 9457 problem details: the body of every error.' })

type RouteConfig = Parameters<OpenAPIHono['openAPIRegistry']['registerPath']>[0]

function describeOperation(prefix: string, tag: string, operation: Operation): RouteConfig {
  const path = `${prefix.replace(/\/$/, '')}${operation.path}`.replace(/(.)\/$/, '$1')
  return {
    operationId: operation.operationId,
    method: operation.method,
    path,
    tags: [tag],
    summary: operation.summary,
    ...(operation.requires && { 'x-requires': operation.requires.settings }),
    ...(describeAccess(operation) && { description: describeAccess(operation) }),
    security:
      operation.access === 'public'
        ? []
        : [{ bearer: [] }, { jwt: [] }, { apiKey: [] }, ...(operation.ticket ? [{ ticket: [] }] : [])],
    ...(operation.access !== 'public' && { parameters: [{ $ref: '#/components/parameters/WorkspaceId' }] }),
    request: {
      ...(operation.params && { params: operation.params }),
      ...(operation.query && { query: operation.query }),
      ...(withPrecondition(operation) && { headers: withPrecondition(operation) }),
      ...(operation.body && {
        body: {
          required: operation.bodyOptional !== true,
          content: {
            'application/json': {
              schema: operation.body,
              ...(operation.bodyExample !== undefined && { example: operation.bodyExample }),
            },
          },
        },
      }),
      ...(operation.rawBody && { body: { required: true, content: operation.rawBody } }),
    },
    // Last, so that a response which the operation describes itself wins over the implied problem.
    responses: {
      ...problemResponses(operation, path, Problem),
      ...(operation.etag === 'read' && { 304: notModified }),
      ...successResponses(operation),
    },
  }
}

function describeAccess({ description, access, own }: Operation): string {
  const needed =
    access === 'public' || access === 'authenticated'
      ? ''
      : `Needs the permission \`${access}\`${own ? ', but not for what is your own' : ''}.`
  return [description, needed].filter(Boolean).join('\n\n')
}

function successResponses({ responses, etag, idempotent }: Operation): RouteConfig['responses'] {
  const tagged: Record<string, string> = {
    ...(etag !== undefined && etagHeader),
    ...(idempotent !== undefined && replayedHeader),
  }
  return Object.fromEntries(
    Object.entries(responses).map(([status, response]) => [
      status,
      {
        description: response.description,
        ...((response.headers || ((etag || idempotent) && response.schema)) && {
          headers: Object.fromEntries(
            Object.entries({ ...response.headers, ...tagged }).map(([name, description]) => [
              name,
              { description, schema: { type: 'string' as const } },
            ]),
          ),
        }),
        ...(response.schema && {
          content: {
            [response.contentType ?? 'application/json']: {
              schema: response.event ? streamOf(response.event.name) : response.schema,
              ...(response.example !== undefined && { example: response.example }),
            },
            ...response.alternatives,
          },
        }),
      },
    ]),
  )
}

/** The body is text; what its events hold is told to generators of clients the way JSON Schema has for it. */
const streamOf = (event: string) => ({
  type: 'string' as const,
  contentMediaType: 'text/event-stream',
  contentSchema: { $ref: `#/components/schemas/${event}` },
})
