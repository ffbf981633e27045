import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import { modelChoiceSchema } from '../services/recipes/definition.ts'
import { getCurrentWorkspace, listWorkspaces, updateCurrentWorkspace } from '../services/workspaces.service.ts'

const example = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  slug: 'default',
  name: 'Default',
  settings: { model: { provider: 'openai', model: 'gpt-5-mini' } },
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}

const Workspace = z
  .object({
    id: z.uuid(),
    slug: z.string(),
    name: z.string(),
    settings: z
      .looseObject({ model: modelChoiceSchema.optional() })
      .openapi({ description: 'Defaults of this workspace. `model` answers where neither step nor agent names one.' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Workspace')

const WorkspacePatch = z
  .strictObject({
    name: z.string().trim().min(1).max(200).optional(),
    settings: z
      .strictObject({ model: modelChoiceSchema.nullable().optional() })
      .optional()
      .openapi({ description: 'Merged by key; null removes one.' }),
  })
  .openapi('WorkspacePatch')

export const workspacesRoutes: RouteGroup = {
  prefix: '/api/workspaces',
  tag: 'Workspaces',
  description: 'The tenant that owns everything else. A key belongs to one workspace.',
  operations: [
    operation(
      {
        operationId: 'listWorkspaces',
        method: 'get',
        path: '/',
        summary: 'List the workspaces that the key may see',
        access: 'workspaces:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'The workspace of the key.',
            schema: pageOf(Workspace).openapi('WorkspaceList'),
            example: { items: [example], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listWorkspaces(ctx, query)),
    ),
    operation(
      {
        operationId: 'getCurrentWorkspace',
        method: 'get',
        path: '/current',
        summary: 'Read the workspace of the key',
        access: 'workspaces:read',
        responses: { 200: { description: 'The workspace.', schema: Workspace, example } },
        problems: ['not-found'],
      },
      async (ctx) => reply(200, await getCurrentWorkspace(ctx)),
    ),
    operation(
      {
        operationId: 'updateCurrentWorkspace',
        method: 'patch',
        path: '/current',
        summary: 'Rename the workspace of the key or change its defaults',
        access: 'workspaces:manage',
        body: WorkspacePatch,
        bodyExample: { settings: { model: { provider: 'openai', model: 'gpt-5-mini' } } },
        responses: { 200: { description: 'The workspace as it is now.', schema: Workspace, example } },
        problems: ['not-found'],
      },
      async (ctx, { body }) => reply(200, await updateCurrentWorkspace(ctx, body)),
    ),
  ],
}
