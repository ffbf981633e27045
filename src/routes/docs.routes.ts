import type { Runtime } from '../context.ts'
import { AppError } from '../lib/errors.ts'
import { referenceStyle, swaggerStart } from '../lib/openapi/page-assets.ts'
import { operation, type Operation, type Reply, type RouteGroup } from '../lib/operation.ts'
import { writeReference } from '../lib/openapi/reference-page.ts'
import { swaggerPage } from '../lib/openapi/swagger-page.ts'
import type { OpenApiDocument } from '../lib/openapi/document.ts'

/** Pages for people who read the API. Not mounted in production. */
export function docsRoutes(document: (runtime: Runtime) => Promise<OpenApiDocument>): RouteGroup {
  let json: string | undefined
  let reference: string | undefined
  return {
    prefix: '',
    tag: 'Documentation',
    description: 'The OpenAPI document and two pages that show it.',
    operations: [
      page('getOpenApiDocument', '/openapi.json', async (runtime) => ({
        status: 200,
        contentType: 'application/json; charset=utf-8',
        body: (json ??= JSON.stringify(await document(runtime))),
      })),
      page('getSwaggerPage', '/docs', () => html(swaggerPage, swaggerPolicy)),
      page('getReferencePage', '/redoc', async (runtime) =>
        html((reference ??= writeReference(await document(runtime))), referencePolicy),
      ),
      asset('getReferenceStyle', '/redoc/reference.css', () => text('text/css', referenceStyle)),
      asset('getSwaggerStart', '/docs/start.js', () => text('text/javascript', swaggerStart)),
      shippedAsset('getSwaggerScript', '/docs/swagger-ui-bundle.js'),
      shippedAsset('getSwaggerStyle', '/docs/swagger-ui.css'),
    ],
  }
}

const common = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
// Swagger UI has its icons as data URLs. It styles elements through the DOM, which needs no 'unsafe-inline'.
const swaggerPolicy = `${common}; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'`
const referencePolicy = `${common}; style-src 'self'; img-src data:`

const html = (body: string, policy: string): Reply => ({
  status: 200,
  contentType: 'text/html; charset=utf-8',
  headers: { 'content-security-policy': policy },
  body,
})

const text = (mediaType: string, body: string | Uint8Array): Reply => ({
  status: 200,
  contentType: `${mediaType}; charset=utf-8`,
  headers: { 'cache-control': 'public, max-age=3600' },
  body,
})

const hidden = (operationId: string, path: string) =>
  ({ operationId, method: 'get', path, summary: path, access: 'public', documented: false, responses: {} }) as const

const page = (operationId: string, path: string, handler: (runtime: Runtime) => Reply | Promise<Reply>): Operation =>
  operation({ ...hidden(operationId, path), kind: 'page' }, handler)

const asset = (operationId: string, path: string, handler: () => Reply): Operation =>
  operation({ ...hidden(operationId, path), kind: 'asset' }, handler)

/** A file that the platform ships: Node reads it from the package, Workers from their assets. */
const shippedAsset = (operationId: string, path: string): Operation =>
  operation({ ...hidden(operationId, path), kind: 'asset' }, async ({ assets }) => {
    const file = await assets?.(path.slice('/docs/'.length))
    if (!file) throw new AppError('not-found', 'This installation ships no files for the documentation page.')
    return text(file.mediaType, file.bytes)
  })
