import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  changeMemberRole,
  getMember,
  leaveTeam,
  listMembers,
  memberTag,
  removeMember,
  transferOwnership,
} from '../services/team.service.ts'
import { inWorkspace, memberExample as example, roleSlug } from './team.schemas.ts'

const TeamMember = z
  .object({
    user_id: z.uuid(),
    email: z.string().nullable(),
    name: z.string().nullable(),
    role: z.string(),
    signs_in_with: z.enum(['token', 'key']).openapi({
      description: 'A token of an identity provider, or a key that an invitation gave.',
    }),
    joined_at: z.iso.datetime(),
  })
  .openapi('TeamMember')
const RoleChange = z.strictObject({ role: roleSlug }).openapi('MemberRoleChange')
const Transfer = z.strictObject({ user_id: z.uuid() }).openapi('OwnershipTransfer')

const workspaceParams = z.object(inWorkspace)
const memberParams = z.object({ ...inWorkspace, member: z.string().openapi({ description: 'Id of the user.' }) })

export const teamRoutes: RouteGroup = {
  prefix: '/api/workspaces',
  tag: 'Team',
  description:
    'Who works in a workspace, and as what. Nobody gives a role that holds more than they do, nobody changes a member who holds more, and an owner stays.',
  operations: [
    operation(
      {
        operationId: 'listMembers',
        method: 'get',
        path: '/{workspace}/team/members',
        summary: 'List the members of the workspace',
        access: 'members:read',
        params: workspaceParams,
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Who joined last comes first.',
            schema: pageOf(TeamMember).openapi('TeamMemberList'),
            example: { items: [example], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params, query }) => reply(200, await listMembers(ctx, params.workspace, query)),
    ),
    operation(
      {
        operationId: 'leaveWorkspace',
        method: 'post',
        path: '/{workspace}/team/leave',
        summary: 'Leave the workspace',
        description:
          'For users. The last owner cannot leave. API keys that the user made belong to the workspace and stay.',
        access: 'authenticated',
        params: workspaceParams,
        responses: { 204: { description: 'The user is a member no more.' } },
        problems: ['forbidden', 'not-found', 'conflict'],
      },
      async (ctx, { params }) => {
        await leaveTeam(ctx, params.workspace)
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'transferOwnership',
        method: 'post',
        path: '/{workspace}/team/transfer',
        summary: 'Hand the workspace over to another member',
        description: 'The member becomes an owner, and the owner who asks an `admin`.',
        access: 'workspaces:manage',
        params: workspaceParams,
        body: Transfer,
        bodyExample: { user_id: example.user_id },
        responses: {
          200: { description: 'The new owner.', schema: TeamMember, example: { ...example, role: 'owner' } },
        },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body }) =>
        reply(200, await transferOwnership(ctx, { workspace: params.workspace, member: body.user_id })),
    ),
    operation(
      {
        operationId: 'getMember',
        method: 'get',
        path: '/{workspace}/team/members/{member}',
        summary: 'Read a member of the workspace',
        access: 'members:read',
        params: memberParams,
        responses: { 200: { description: 'The member.', schema: TeamMember, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const member = await getMember(ctx, params.workspace, params.member)
        return reply(200, member, { etag: memberTag(member) })
      },
    ),
    operation(
      {
        operationId: 'changeMemberRole',
        method: 'patch',
        path: '/{workspace}/team/members/{member}',
        summary: 'Give a member another role',
        access: 'members:manage',
        params: memberParams,
        body: RoleChange,
        bodyExample: { role: 'editor' },
        responses: { 200: { description: 'The member as it is now.', schema: TeamMember, example } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body, request }) => {
        const ifMatch = request.headers.get('if-match')
        const member = await changeMemberRole(ctx, { ...params, ...body, ifMatch })
        return reply(200, member, { etag: memberTag(member) })
      },
    ),
    operation(
      {
        operationId: 'removeMember',
        method: 'delete',
        path: '/{workspace}/team/members/{member}',
        summary: 'Remove a member from the workspace',
        access: 'members:manage',
        params: memberParams,
        responses: { 204: { description: 'The user is a member no more.' } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, request }) => {
        await removeMember(ctx, { ...params, ifMatch: request.headers.get('if-match') })
        return reply(204)
      },
    ),
  ],
}
