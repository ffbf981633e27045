import { createApiDocument } from '../../../src/app.ts'
import type { Access } from '../../../src/lib/operation.ts'
import { routeGroups } from '../../../src/routes/index.ts'
import { ApiMetrics } from '../../../src/services/metrics/api-metrics.ts'
import { createLimiterState } from '../../../src/services/metrics/limiter-state.ts'
import { testConfig } from '../../support/app.ts'

export interface Schema {
  $ref?: string
  type?: string | string[]
  format?: string
  enum?: unknown[]
  properties?: Record<string, Schema>
  anyOf?: Schema[]
  oneOf?: Schema[]
  allOf?: Schema[]
}
export interface Parameter {
  name: string
  in: 'path' | 'query' | 'header'
  required?: boolean
  schema: Schema
}
interface OperationNode {
  operationId: string
  tags: string[]
  parameters?: (Parameter | { $ref: string })[]
  requestBody?: { content: Record<string, { example?: unknown; schema: Schema }> }
  responses: Record<string, { content?: Record<string, { schema?: Schema }> }>
}

/** One operation as the document describes it, and who may call it. */
export interface WalkedOperation {
  id: string
  method: string
  path: string
  tag: string
  access: Access
  /** Of the path, in its order. */
  names: string[]
  parameters: Parameter[]
  /** Schema and example of a JSON body. */
  json: { schema: Schema; example: unknown } | null
  /** An example of a body that is no JSON. */
  raw: { type: string; example: string } | null
  responses: OperationNode['responses']
  streams: boolean
}

interface Document {
  paths: Record<string, Record<string, OperationNode>>
  components: { schemas: Record<string, Schema>; parameters?: Record<string, Parameter> }
}
export const document = createApiDocument(testConfig()) as unknown as Document

export const resolve = (schema: Schema): Schema =>
  schema.$ref === undefined ? schema : resolve(document.components.schemas[schema.$ref.split('/').at(-1)!]!)

const accessOf = new Map(
  routeGroups(testConfig(), { metrics: new ApiMetrics(), limiterState: createLimiterState() }).flatMap((group) =>
    group.operations.map(({ operationId, access }) => [operationId, access] as const),
  ),
)

/** Every operation of the OpenAPI document, in its order. */
export const operations: WalkedOperation[] = Object.entries(document.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, node]) => {
    const { 'application/json': json, ...others } = node.requestBody?.content ?? {}
    const [raw] = Object.entries(others)
    return {
      id: node.operationId,
      method: method.toUpperCase(),
      path,
      tag: node.tags[0]!,
      access: accessOf.get(node.operationId)!,
      names: [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => name!),
      parameters: (node.parameters ?? []).map((parameter) =>
        '$ref' in parameter ? document.components.parameters![parameter.$ref.split('/').at(-1)!]! : parameter,
      ),
      json: json ? { schema: json.schema, example: json.example } : null,
      raw: raw && !json ? { type: raw[0], example: String(raw[1].example) } : null,
      responses: node.responses,
      streams: Object.values(node.responses).some(({ content = {} }) => 'text/event-stream' in content),
    }
  }),
)

export const fill = (path: string, values: Readonly<Record<string, string>>, otherwise = nowhere): string =>
  path.replace(/\{([^}]+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? otherwise))

/** An id that no row has. */
export const nowhere = '01939f3c-5c2a-7b3e-9d1a-000000000000'
