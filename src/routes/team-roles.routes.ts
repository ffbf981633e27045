import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { permissions } from '../lib/permissions.ts'
import { createRole, deleteRole, getRole, listRoles, roleTag, updateRole } from '../services/team.service.ts'
import { inWorkspace, roleSlug } from './team.schemas.ts'

const example = {
  slug: 'operations',
  name: 'Operations',
  description: 'Runs recipes, changes none.',
  permissions: ['recipes:read', 'recipes:execute', 'executions:read', 'executions:control'],
  built_in: false,
  in_use: 2,
}
const TeamRole = z
  .object({
    slug: z.string(),
    name: z.string(),
    description: z.string().nullable(),
    permissions: z.array(z.string()),
    built_in: z.boolean(),
    in_use: z.int().openapi({ description: 'Members who have it, and open invitations that give it.' }),
  })
  .openapi('TeamRole')

const fields = {
  name: z.string().trim().min(1).max(100),
  description: z.string().max(1000).nullable().optional(),
  permissions: z.array(z.enum(permissions)).max(permissions.length),
}
const NewTeamRole = z.strictObject({ slug: z.string(), ...fields }).openapi('NewTeamRole')
const TeamRolePatch = z
  .strictObject({ ...fields, name: fields.name.optional(), permissions: fields.permissions.optional() })
  .openapi('TeamRolePatch')

const workspaceParams = z.object(inWorkspace)
const params = z.object({ ...inWorkspace, role: roleSlug })

export const teamRolesRoutes: RouteGroup = {
  prefix: '/api/workspaces',
  tag: 'Team',
  description: 'What members may do: the built-in roles, and those of the workspace.',
  operations: [
    operation(
      {
        operationId: 'listRoles',
        method: 'get',
        path: '/{workspace}/team/roles',
        summary: 'List the roles of the workspace, the built-in ones first',
        access: 'members:read',
        params: workspaceParams,
        responses: {
          200: {
            description: 'All of them: a workspace has 50 of its own at most.',
            schema: z.object({ items: z.array(TeamRole) }).openapi('TeamRoleList'),
            example: { items: [example] },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { workspace } }) => reply(200, { items: await listRoles(ctx, workspace) }),
    ),
    operation(
      {
        operationId: 'createRole',
        method: 'post',
        path: '/{workspace}/team/roles',
        summary: 'Make a role',
        description: 'A role cannot hold more than its maker.',
        access: 'members:manage',
        idempotent: 'stored',
        params: workspaceParams,
        body: NewTeamRole,
        bodyExample: { slug: 'operations', name: 'Operations', permissions: example.permissions },
        responses: {
          201: {
            description: 'The role.',
            schema: TeamRole,
            headers: { location: 'The address of the role.' },
            example: { ...example, in_use: 0 },
          },
        },
        etag: 'create',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: { workspace }, body }) => {
        const role = await createRole(ctx, workspace, body)
        const location = `/api/workspaces/${ctx.actor.workspaceId}/team/roles/${role.slug}`
        return reply(201, role, { location, etag: roleTag(role) })
      },
    ),
    operation(
      {
        operationId: 'getRole',
        method: 'get',
        path: '/{workspace}/team/roles/{role}',
        summary: 'Read a role',
        access: 'members:read',
        params,
        responses: { 200: { description: 'The role.', schema: TeamRole, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, input) => {
        const role = await getRole(ctx, input.params.workspace, input.params.role)
        return reply(200, role, { etag: roleTag(role) })
      },
    ),
    operation(
      {
        operationId: 'updateRole',
        method: 'patch',
        path: '/{workspace}/team/roles/{role}',
        summary: 'Change a role of the workspace, for all who have it',
        access: 'members:manage',
        params,
        body: TeamRolePatch,
        bodyExample: { permissions: ['recipes:read', 'executions:read'] },
        responses: { 200: { description: 'The role as it is now.', schema: TeamRole, example } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params: at, body, request }) => {
        const { name, description, permissions: given } = body
        const role = await updateRole(ctx, {
          ...at,
          ...(name !== undefined && { name }),
          ...(description !== undefined && { description }),
          ...(given !== undefined && { permissions: given }),
          ifMatch: request.headers.get('if-match'),
        })
        return reply(200, role, { etag: roleTag(role) })
      },
    ),
    operation(
      {
        operationId: 'deleteRole',
        method: 'delete',
        path: '/{workspace}/team/roles/{role}',
        summary: 'Delete a role of the workspace that nobody has',
        access: 'members:manage',
        params,
        responses: { 204: { description: 'The role is gone.' } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, input) => {
        await deleteRole(ctx, { ...input.params, ifMatch: input.request.headers.get('if-match') })
        return reply(204)
      },
    ),
  ],
}
