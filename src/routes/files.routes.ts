import { z } from '@hono/zod-openapi'
import type { Config } from '../config.ts'
import { entityTag } from '../lib/etag.ts'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageQuery } from '../lib/pagination.ts'
import { instant } from '../lib/time-range.ts'
import {
  attachment,
  deleteFile,
  fileTag,
  getFile,
  listFiles,
  readContent,
  uploadFile,
} from '../services/files.service.ts'
import { File, fileExample, FileList, fileSources } from './files.schemas.ts'
import { linkTo } from './signed-link.ts'

const prefix = '/api/files'
const params = z.object({ file: z.string().openapi({ description: 'Id of the file.' }) })
/** What a form adds to the file in it. */
const formBytes = 65_536

const binary = z.string().openapi({ format: 'binary' })

const content = operation(
  {
    operationId: 'downloadFile',
    method: 'get',
    path: '/{file}/content',
    summary: 'Download a file',
    description:
      'The bytes under the media type that was declared for them, as an attachment: no browser shows or runs what is in it.',
    access: 'files:read',
    ticket: true,
    etag: 'read',
    params,
    responses: {
      200: {
        description: 'The bytes.',
        schema: binary,
        contentType: 'application/octet-stream',
        headers: { 'Content-Disposition': 'An attachment of the name of the file.' },
      },
    },
    problems: ['not-found'],
  },
  async (ctx, { params }) => {
    const { file, bytes } = await readContent(ctx, params.file)
    return {
      status: 200,
      headers: {
        etag: entityTag(file.sha256),
        'content-disposition': attachment(file.name),
        'content-security-policy': "default-src 'none'; sandbox; frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
      },
      contentType: file.media_type,
      body: new Blob([bytes as BufferSource]).stream(),
    }
  },
)

export const filesRoutes = ({ fileMaxBytes }: Pick<Config, 'fileMaxBytes'>): RouteGroup => ({
  prefix,
  tag: 'Files',
  description:
    'Binary values: uploaded, made by http steps with `parse: bytes`, or received by webhooks. Inputs, outputs and bodies of http steps name them by a handle.',
  operations: [
    operation(
      {
        operationId: 'uploadFile',
        method: 'post',
        path: '/',
        summary: 'Upload a file',
        description:
          'The body is the file, under its media type; or `multipart/form-data` with one part. Files have at most `FILE_MAX_BYTES` bytes.',
        access: 'files:write',
        idempotent: 'run',
        maxBodyBytes: fileMaxBytes + formBytes,
        query: z.object({
          name: z.string().min(1).max(255).optional().openapi({
            description: 'Name of the file. Default: what the form says, else `file`.',
            example: 'report.pdf',
          }),
          expires_at: instant()
            .optional()
            .openapi({ description: 'When it is deleted. Default: what the retention of the workspace says.' }),
        }),
        // The key of the upload itself is put in front of it by the pipeline.
        headers: z.object({ 'idempotency-key': z.string().min(1).max(200).optional() }),
        rawBody: {
          'application/octet-stream': { schema: binary, example: 'The bytes of the file.' },
          'multipart/form-data': { schema: z.object({ file: binary }), example: { file: 'The bytes of the file.' } },
        },
        responses: {
          201: {
            description: 'The file, with the handle that stands for it.',
            schema: File,
            headers: { Location: 'Where the file is.' },
            example: fileExample,
          },
        },
        etag: 'create',
        problems: ['limit-reached'],
      },
      async (ctx, { query, headers, request }) => {
        const { file, replayed } = await uploadFile(ctx, {
          bytes: new Uint8Array(await request.arrayBuffer()),
          contentType: request.headers.get('content-type'),
          name: query.name,
          expiresAt: query.expires_at,
          idempotencyKey: headers['idempotency-key'],
        })
        return reply(201, file, {
          location: `${prefix}/${file.id}`,
          etag: fileTag(file),
          ...(replayed && { 'idempotency-replayed': 'true' }),
        })
      },
    ),
    operation(
      {
        operationId: 'listFiles',
        method: 'get',
        path: '/',
        summary: 'List the files of the workspace',
        access: 'files:read',
        query: z.object({
          ...pageQuery,
          execution_id: z.uuid().optional().openapi({ description: 'Only those of one execution.' }),
          source: z.enum(fileSources).optional().openapi({ description: 'Only those that came this way.' }),
        }),
        responses: {
          200: {
            description: 'Files, newest first.',
            schema: FileList,
            example: { items: [fileExample], next_cursor: null },
          },
        },
      },
      async (ctx, { query: { execution_id, ...rest } }) =>
        reply(200, await listFiles(ctx, { ...rest, execution: execution_id })),
    ),
    operation(
      {
        operationId: 'getFile',
        method: 'get',
        path: '/{file}',
        summary: 'Read what is known of a file',
        access: 'files:read',
        params,
        responses: { 200: { description: 'The file without its bytes.', schema: File, example: fileExample } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params: { file: id } }) => {
        const file = await getFile(ctx, id)
        return reply(200, file, { etag: fileTag(file) })
      },
    ),
    operation(
      {
        operationId: 'deleteFile',
        method: 'delete',
        path: '/{file}',
        summary: 'Delete a file',
        description: 'What still names it by its handle finds nothing from then on.',
        access: 'files:write',
        params,
        responses: { 204: { description: 'Deleted.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { file }, request }) => {
        await deleteFile(ctx, file, request.headers.get('if-match'))
        return reply(204)
      },
    ),
    content,
    linkTo(prefix, content, {
      operationId: 'createFileLink',
      summary: 'Get an address that a file can be downloaded from',
      name: 'link',
      check: (ctx, { file }) => getFile(ctx, file!),
    }),
  ],
})
