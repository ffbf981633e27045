import { z } from '@hono/zod-openapi'
import { operation, type Reply, type RouteGroup } from '../lib/operation.ts'
import { checkExecution, readOutput } from '../services/executions.service.ts'
import { executionParams } from './executions.schemas.ts'
import { linkTo } from './signed-link.ts'

const prefix = '/api/executions'

const download = operation(
  {
    operationId: 'downloadOutput',
    method: 'get',
    path: '/{execution}/output',
    summary: 'Download the output of an execution',
    description:
      'The output alone and whole, large ones included: a text as `text/plain`, anything else as JSON. 409 while the run goes on, and where it ended without an output.',
    access: 'executions:read',
    ticket: true,
    etag: 'read',
    params: executionParams,
    responses: {
      200: {
        description: 'The output.',
        schema: z.json().openapi({ type: ['object', 'array', 'number', 'boolean', 'null'] }),
        headers: { 'Content-Disposition': 'A file name for browsers.' },
        example: { headlines: 10 },
        alternatives: { 'text/plain': { schema: z.string(), example: '# Digest' } },
      },
    },
    problems: ['not-found', 'conflict'],
  },
  async (ctx, { params }): Promise<Reply> => {
    const { content, etag } = await readOutput(ctx, params.execution)
    const isText = 'text' in content
    return {
      status: 200,
      headers: {
        etag,
        'content-disposition': `attachment; filename="execution-${params.execution.toLowerCase()}.${isText ? 'txt' : 'json'}"`,
      },
      contentType: isText ? 'text/plain; charset=utf-8' : 'application/json',
      body: isText
        ? content.text
        : 'json' in content
          ? content.json
          : new Blob([content.jsonBytes as BufferSource]).stream(),
    }
  },
)

export const executionOutputRoutes: RouteGroup = {
  prefix,
  tag: 'Executions',
  description: 'The output of a run, as a file.',
  operations: [
    download,
    linkTo(prefix, download, {
      operationId: 'createOutputLink',
      summary: 'Get an address that the output of an execution can be downloaded from',
      name: 'link',
      check: (ctx, { execution }) => checkExecution(ctx, execution!),
    }),
  ],
}
