import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  defaultDays,
  getInvitation,
  invitationTag,
  inviteMember,
  listInvitations,
  resendInvitation,
  revokeInvitation,
} from '../services/team.service.ts'
import { inWorkspace, roleSlug } from './team.schemas.ts'

const example = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  email: 'user@example.com',
  role: 'editor',
  state: 'pending',
  invited_by: 'user:01939f3c-5c2b-7b3e-9d1a-2f6b8c4d5e6f',
  expires_at: '2026-11-29T08:00:00.000Z',
  accepted_at: null,
  created_at: '2026-11-22T08:00:00.000Z',
}
const fields = {
  id: z.uuid(),
  email: z.string(),
  role: z.string(),
  state: z.enum(['pending', 'accepted', 'revoked', 'expired']),
  invited_by: z.string(),
  expires_at: z.iso.datetime(),
  accepted_at: z.iso.datetime().nullable(),
  created_at: z.iso.datetime(),
}
const delivery = z.enum(['email', 'token'])
const Invitation = z.object(fields).openapi('Invitation')
const SentInvitation = z
  .object({
    ...fields,
    delivery: delivery.openapi({ description: '`email`: the token is on its way to the address.' }),
    token: z
      .string()
      .nullable()
      .openapi({ description: 'To be passed on to whom it is for, this once. Null where it is mailed.' }),
  })
  .openapi('SentInvitation')

const wantedDelivery = delivery.optional().openapi({
  description: '`token` answers it instead of mailing it. Default: `email`, where the installation sends any there.',
})
const NewInvitation = z
  .strictObject({
    email: z.email().max(320),
    role: roleSlug,
    expires_in_days: z.int().min(1).max(30).default(defaultDays),
    delivery: wantedDelivery,
  })
  .openapi('NewInvitation')
const Resend = z.strictObject({ delivery: wantedDelivery }).openapi('InvitationResend')

const workspaceParams = z.object(inWorkspace)
const params = z.object({ ...inWorkspace, invitation: z.string().openapi({ description: 'Id of the invitation.' }) })
const token = `ainv_${'0123456789abcdef'.repeat(4)}`
const sentExample = { ...example, delivery: 'token', token }

export const teamInvitationsRoutes: RouteGroup = {
  prefix: '/api/workspaces',
  tag: 'Team',
  description: 'Invitations are for one address, good once, and end by themselves.',
  operations: [
    operation(
      {
        operationId: 'listInvitations',
        method: 'get',
        path: '/{workspace}/team/invitations',
        summary: 'List the invitations of the workspace',
        access: 'members:read',
        params: workspaceParams,
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Newest first.',
            schema: pageOf(Invitation).openapi('InvitationList'),
            example: { items: [example], next_cursor: null },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { workspace }, query }) => reply(200, await listInvitations(ctx, workspace, query)),
    ),
    operation(
      {
        operationId: 'inviteMember',
        method: 'post',
        path: '/{workspace}/team/invitations',
        summary: 'Invite somebody to the workspace',
        description:
          'An open invitation has a seat of the plan. Nobody invites to a role that holds more than they do.',
        access: 'members:manage',
        idempotent: 'sealed',
        params: workspaceParams,
        body: NewInvitation,
        bodyExample: { email: 'user@example.com', role: 'editor' },
        responses: {
          201: {
            description: 'The invitation.',
            schema: SentInvitation,
            headers: { location: 'The address of the invitation.' },
            example: sentExample,
          },
        },
        etag: 'create',
        problems: ['not-found', 'conflict', 'limit-reached'],
      },
      async (ctx, { params: { workspace }, body }) => {
        const { expires_in_days: expiresInDays, ...input } = body
        const sent = await inviteMember(ctx, workspace, { ...input, expiresInDays })
        const { delivery: _, token: __, ...invitation } = sent
        const location = `/api/workspaces/${ctx.actor.workspaceId}/team/invitations/${sent.id}`
        return reply(201, sent, { location, etag: invitationTag(invitation) })
      },
    ),
    operation(
      {
        operationId: 'getInvitation',
        method: 'get',
        path: '/{workspace}/team/invitations/{invitation}',
        summary: 'Read an invitation',
        access: 'members:read',
        params,
        responses: { 200: { description: 'The invitation.', schema: Invitation, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, input) => {
        const invitation = await getInvitation(ctx, input.params.workspace, input.params.invitation)
        return reply(200, invitation, { etag: invitationTag(invitation) })
      },
    ),
    operation(
      {
        operationId: 'revokeInvitation',
        method: 'delete',
        path: '/{workspace}/team/invitations/{invitation}',
        summary: 'Revoke an invitation',
        description: 'It stays in the list, as `revoked`.',
        access: 'members:manage',
        params,
        responses: { 204: { description: 'Nobody can accept it any more.' } },
        etag: 'change',
        problems: ['not-found', 'conflict'],
      },
      async (ctx, input) => {
        await revokeInvitation(ctx, { ...input.params, ifMatch: input.request.headers.get('if-match') })
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'resendInvitation',
        method: 'post',
        path: '/{workspace}/team/invitations/{invitation}/resend',
        summary: 'Send an invitation again, with a new token and a new end',
        description: 'The token before is worth nothing from then on.',
        access: 'members:manage',
        params,
        body: Resend,
        bodyOptional: true,
        bodyExample: { delivery: 'token' },
        responses: { 200: { description: 'The invitation.', schema: SentInvitation, example: sentExample } },
        problems: ['not-found', 'conflict', 'limit-reached'],
      },
      async (ctx, input) => reply(200, await resendInvitation(ctx, { ...input.params, ...input.body })),
    ),
  ],
}
