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
      'The output alone and whole, large ones included: a text as `text/plain`, anything else as JSON. With `step` that of one of its steps. 409 while the run or the step goes on, and where it ended without an output.',
    access: 'executions:read',
    ticket: true,
    etag: 'read',
    params: executionParams,
    query: z.object({
      step: z.string().min(1).max(1_000).optional().openapi({
        description: 'Path of a step, such as `fetch` or `each/3/note`: its output alone.',
        example: 'each',
      }),
    }),
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
  async (ctx, { params, query }): Promise<Reply> => {
    const { content, etag } = await readOutput(ctx, params.execution, query.step)
    const isText = 'text' in content
    const name = ['execution', params.execution.toLowerCase(), ...(query.step?.split('/') ?? [])].join('-')
    return {
      status: 200,
      headers: {
        etag,
        'content-disposition': `attachment; filename="${name.replace(/[^\w.~-]/g, '_')}.${isText ? 'txt' : 'json'}"`,
        ...('size' in content && { 'content-length': String(content.size) }),
      },
      contentType: isText ? 'text/plain; charset=utf-8' : 'application/json',
      body: isText ? content.text : 'json' in content ? content.json : content.stream(),
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
