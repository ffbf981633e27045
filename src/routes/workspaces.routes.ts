import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import { modelChoiceSchema } from '../services/recipes/definition.ts'
import {
  createWorkspace,
  deleteWorkspace,
  getCurrentWorkspace,
  getWorkspace,
  listWorkspaces,
  restoreWorkspace,
  switchWorkspace,
  updateCurrentWorkspace,
  workspaceTag,
} from '../services/workspaces.service.ts'
import { inWorkspace } from './team.schemas.ts'

const example = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  slug: 'default',
  name: 'Default',
  plan: 'default',
  settings: { model: { provider: 'openai', model: 'gpt-5-mini' } },
  deleted_at: null,
  purge_after: null,
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}

const concurrentExecutions = z.int().min(1).max(1000).openapi({
  description: 'Executions that run at a time; the others are blocked until one ends or waits. Default: no limit.',
})
const fields = {
  id: z.uuid(),
  slug: z.string(),
  name: z.string(),
  plan: z.string(),
  settings: z
    .looseObject({ model: modelChoiceSchema.optional(), concurrent_executions: concurrentExecutions.optional() })
    .openapi({ description: 'Defaults of this workspace. `model` answers where neither step nor agent names one.' }),
  deleted_at: z.iso
    .datetime()
    .nullable()
    .openapi({ description: 'Since when it is to be purged; until then it can be read and restored.' }),
  purge_after: z.iso.datetime().nullable(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
}
const Workspace = z.object(fields).openapi('Workspace')
const { id, slug, name, ...readable } = fields
const ListedWorkspace = z
  .object({
    id,
    slug,
    name,
    ...z.object(readable).partial().shape,
    role: z.string().nullable().openapi({
      description:
        'Of the user who asks; null where a key does. Where it may not read the workspace, only the name is told.',
    }),
  })
  .openapi('ListedWorkspace')

const NewWorkspace = z.strictObject({ name: z.string().trim().min(1).max(200) }).openapi('NewWorkspace')

const WorkspacePatch = z
  .strictObject({
    name: z.string().trim().min(1).max(200).optional(),
    settings: z
      .strictObject({
        model: modelChoiceSchema.nullable().optional(),
        concurrent_executions: concurrentExecutions.nullable().optional(),
      })
      .optional()
      .openapi({ description: 'Merged by key; null removes one.' }),
  })
  .openapi('WorkspacePatch')

const visibleParams = z.object({ workspace: z.string().openapi({ description: 'Id or slug of the workspace.' }) })
const currentParams = z.object(inWorkspace)

export const workspacesRoutes: RouteGroup = {
  prefix: '/api/workspaces',
  tag: 'Workspaces',
  description:
    'The tenant that owns everything else. A key belongs to one workspace; a user is a member of one or more and names the one to act in as `X-Workspace-ID`.',
  operations: [
    operation(
      {
        operationId: 'listWorkspaces',
        method: 'get',
        path: '/',
        summary: 'List the workspaces that the caller may see',
        access: 'workspaces:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'All of which the user is a member, newest first; the one of a key.',
            schema: pageOf(ListedWorkspace).openapi('WorkspaceList'),
            example: { items: [{ ...example, role: 'owner' }], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listWorkspaces(ctx, query)),
    ),
    operation(
      {
        operationId: 'createWorkspace',
        method: 'post',
        path: '/',
        summary: 'Make a workspace and own it',
        description: 'For users who are signed in: a key belongs to one workspace and is refused, whatever it holds.',
        access: 'authenticated',
        idempotent: 'sealed',
        body: NewWorkspace,
        bodyExample: { name: 'Research' },
        responses: {
          201: {
            description: 'The workspace. Its slug is made from the name.',
            schema: Workspace,
            headers: { location: 'The address of the workspace.' },
            example: { ...example, name: 'Research', slug: 'research-4f1d8a2c', settings: {} },
          },
        },
        etag: 'create',
        problems: ['conflict'],
      },
      async (ctx, { body }) => {
        const workspace = await createWorkspace(ctx, body)
        const location = `/api/workspaces/${workspace.id}`
        return reply(201, workspace, { location, etag: workspaceTag(workspace) })
      },
    ),
    operation(
      {
        operationId: 'getCurrentWorkspace',
        method: 'get',
        path: '/current',
        summary: 'Read the workspace in which the caller acts',
        access: 'workspaces:read',
        responses: { 200: { description: 'The workspace.', schema: Workspace, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx) => {
        const workspace = await getCurrentWorkspace(ctx)
        return reply(200, workspace, { etag: workspaceTag(workspace) })
      },
    ),
    operation(
      {
        operationId: 'updateCurrentWorkspace',
        method: 'patch',
        path: '/current',
        summary: 'Rename the workspace in which the caller acts, or change its defaults',
        access: 'workspaces:manage',
        body: WorkspacePatch,
        bodyExample: { settings: { model: { provider: 'openai', model: 'gpt-5-mini' } } },
        responses: { 200: { description: 'The workspace as it is now.', schema: Workspace, example } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { body, request }) => {
        const workspace = await updateCurrentWorkspace(ctx, body, request.headers.get('if-match'))
        return reply(200, workspace, { etag: workspaceTag(workspace) })
      },
    ),
    operation(
      {
        operationId: 'getWorkspace',
        method: 'get',
        path: '/{workspace}',
        summary: 'Read one of the workspaces that the caller may see',
        access: 'workspaces:read',
        params: visibleParams,
        responses: { 200: { description: 'The workspace.', schema: Workspace, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const workspace = await getWorkspace(ctx, params.workspace)
        return reply(200, workspace, { etag: workspaceTag(workspace) })
      },
    ),
    operation(
      {
        operationId: 'deleteWorkspace',
        method: 'delete',
        path: '/{workspace}',
        summary: 'Delete the workspace in which the caller acts',
        description:
          'At once nothing runs there any more and nothing can be written; it can be read, exported and restored until `purge_after`, and is then erased with all that belongs to it.',
        access: 'workspaces:manage',
        params: currentParams,
        responses: {
          200: {
            description: 'The workspace, with the time at which it is purged.',
            schema: Workspace,
            example: { ...example, deleted_at: example.updated_at, purge_after: '2026-12-22T08:00:00.000Z' },
          },
        },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, request }) => {
        const workspace = await deleteWorkspace(ctx, params.workspace, request.headers.get('if-match'))
        return reply(200, workspace, { etag: workspaceTag(workspace) })
      },
    ),
    operation(
      {
        operationId: 'restoreWorkspace',
        method: 'post',
        path: '/{workspace}/restore',
        summary: 'Restore a deleted workspace before it is purged',
        access: 'workspaces:manage',
        params: currentParams,
        responses: { 200: { description: 'The workspace as it is now.', schema: Workspace, example } },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params }) => reply(200, await restoreWorkspace(ctx, params.workspace)),
    ),
    operation(
      {
        operationId: 'switchWorkspace',
        method: 'post',
        path: '/{workspace}/switch',
        summary: 'Choose the workspace in which requests without X-Workspace-ID act',
        description: 'For users who sign in with a token. A key belongs to one workspace.',
        access: 'authenticated',
        params: visibleParams,
        responses: {
          200: { description: 'The workspace.', schema: ListedWorkspace, example: { ...example, role: 'owner' } },
        },
        problems: ['not-found', 'forbidden'],
      },
      async (ctx, { params }) => reply(200, await switchWorkspace(ctx, params.workspace)),
    ),
  ],
}
