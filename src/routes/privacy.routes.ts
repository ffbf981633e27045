import { z } from '@hono/zod-openapi'
import { operation, reply, type Operation, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  createExport,
  deleteExport,
  eraseUser,
  exportTag,
  getExport,
  getPerson,
  listExports,
  personTag,
  readArchive,
} from '../services/privacy.service.ts'
import { linkTo } from './signed-link.ts'

const prefix = '/api/privacy'

const Export = z
  .object({
    id: z.uuid(),
    scope: z.enum(['workspace', 'user']),
    user_id: z.uuid().nullable(),
    status: z.enum(['queued', 'running', 'ready', 'failed']),
    size: z.int().nullable().openapi({ description: 'Bytes of the archive so far.' }),
    error: z.string().nullable(),
    created_by: z.string(),
    created_at: z.iso.datetime(),
    finished_at: z.iso.datetime().nullable(),
    expires_at: z.iso.datetime().nullable().openapi({ description: 'When it is deleted by itself.' }),
  })
  .openapi('PrivacyExport')
const exportExample = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  scope: 'workspace' as const,
  user_id: null,
  status: 'ready' as const,
  size: 1_482_003,
  error: null,
  created_by: 'user:01939f3c-0000-7b3e-9d1a-2f6b8c4d5e6f',
  created_at: '2026-11-22T08:00:00.000Z',
  finished_at: '2026-11-22T08:00:20.000Z',
  expires_at: '2026-11-29T08:00:20.000Z',
}
const Person = z
  .object({
    id: z.uuid(),
    issuer: z.string(),
    subject: z.string(),
    email: z.string().nullable(),
    name: z.string().nullable(),
    created_at: z.iso.datetime(),
    workspaces: z.array(
      z.object({
        id: z.uuid(),
        slug: z.string(),
        role: z.string(),
        is_only_member: z.boolean().openapi({ description: 'Nobody else is in it: it goes with the person.' }),
        is_last_owner: z.boolean().openapi({ description: 'It must be handed over before the person can be erased.' }),
      }),
    ),
  })
  .openapi('StoredPerson')
const personExample = {
  id: '01939f3c-0000-7b3e-9d1a-2f6b8c4d5e6f',
  issuer: 'https://login.example.com/',
  subject: 'user_2f6b8c4d',
  email: 'user@example.com',
  name: 'Example User',
  created_at: '2026-11-22T08:00:00.000Z',
  workspaces: [
    {
      id: '01939f3c-5c2b-7b3e-9d1a-2f6b8c4d5e6f',
      slug: 'example-user-4f1d8a2c',
      role: 'owner',
      is_only_member: true,
      is_last_owner: false,
    },
  ],
}

const params = z.object({ export: z.string().openapi({ description: 'Id of the export.' }) })
const person = z.object({ user: z.string().openapi({ description: 'Id of the user.' }) })

const download: Operation = operation(
  {
    operationId: 'downloadPrivacyExport',
    method: 'get',
    path: '/exports/{export}/archive',
    summary: 'Download the archive',
    description: 'A tar archive of several gzip members: `tar -xzf` reads it.',
    access: 'privacy:export',
    ticket: true,
    params,
    responses: {
      200: {
        description: 'The archive.',
        contentType: 'application/gzip',
        schema: z.string().openapi({ format: 'binary' }),
        example: 'The bytes of the archive.',
      },
    },
    problems: ['not-found', 'conflict'],
  },
  async (ctx, { params: { export: id } }) => ({
    status: 200,
    contentType: 'application/gzip',
    headers: { 'content-disposition': `attachment; filename="export-${id}.tar.gz"`, 'cache-control': 'no-store' },
    body: await readArchive(ctx, id),
  }),
)

export const privacyRoutes: RouteGroup = {
  prefix,
  tag: 'Privacy',
  description: 'What is stored of a workspace or a person: to take along, and to have erased.',
  operations: [
    operation(
      {
        operationId: 'createPrivacyExport',
        method: 'post',
        path: '/exports',
        summary: 'Order an archive of the workspace, or of what names a person in it',
        description:
          'Made in the background: every table as lines of JSON, and every file. Without secrets. Kept for seven days.',
        access: 'privacy:export',
        idempotent: 'stored',
        body: z.strictObject({
          user_id: z.uuid().optional().openapi({ description: 'A member: only what names them. Default: everything.' }),
        }),
        bodyOptional: true,
        bodyExample: {},
        responses: {
          201: {
            description: 'The order.',
            schema: Export,
            headers: { location: 'The address of the export.' },
            example: { ...exportExample, status: 'queued', size: null, finished_at: null, expires_at: null },
          },
        },
        etag: 'create',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { body }) => {
        const made = await createExport(ctx, body)
        return reply(201, made, { location: `${prefix}/exports/${made.id}`, etag: exportTag(made) })
      },
    ),
    operation(
      {
        operationId: 'listPrivacyExports',
        method: 'get',
        path: '/exports',
        summary: 'List the archives of the workspace',
        access: 'privacy:export',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Newest first.',
            schema: pageOf(Export).openapi('PrivacyExportList'),
            example: { items: [exportExample], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listExports(ctx, query)),
    ),
    operation(
      {
        operationId: 'getPrivacyExport',
        method: 'get',
        path: '/exports/{export}',
        summary: 'Read how far an archive is',
        access: 'privacy:export',
        params,
        responses: { 200: { description: 'The export.', schema: Export, example: exportExample } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params: { export: id } }) => {
        const found = await getExport(ctx, id)
        return reply(200, found, { etag: exportTag(found) })
      },
    ),
    operation(
      {
        operationId: 'deletePrivacyExport',
        method: 'delete',
        path: '/exports/{export}',
        summary: 'Delete an archive, or cancel its making',
        access: 'privacy:export',
        params,
        responses: { 204: { description: 'Deleted.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { export: id }, request }) => {
        await deleteExport(ctx, id, request.headers.get('if-match'))
        return reply(204)
      },
    ),
    download,
    linkTo(prefix, download, {
      operationId: 'createPrivacyExportLink',
      summary: 'Get an address that an archive can be downloaded from',
      name: 'link',
      check: (ctx, { export: id }) => getExport(ctx, id!),
    }),
    operation(
      {
        operationId: 'getStoredPerson',
        method: 'get',
        path: '/users/{user}',
        summary: 'Read what the installation knows of a person, and what an erasure would take along',
        access: 'system:manage',
        params: person,
        responses: { 200: { description: 'The person.', schema: Person, example: personExample } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params: { user } }) => {
        const found = await getPerson(ctx, user)
        return reply(200, found, { etag: personTag(found) })
      },
    ),
    operation(
      {
        operationId: 'eraseUser',
        method: 'delete',
        path: '/users/{user}',
        summary: 'Erase a person',
        description:
          'Their row, memberships, personal keys, sessions and invitations go at once, and workspaces that are theirs alone within minutes. What they wrote in workspaces of others belongs to those; there their id stays, and stands for nobody. Audit logs lose their address and still verify.',
        access: 'system:manage',
        params: person,
        responses: { 204: { description: 'Erased.' } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { user }, request }) => {
        await eraseUser(ctx, user, request.headers.get('if-match'))
        return reply(204)
      },
    ),
  ],
}
