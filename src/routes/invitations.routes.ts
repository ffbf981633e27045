import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { joinByInvitation, redeemInvitation } from '../services/team.service.ts'
import { Joined, joinedExample } from './team.schemas.ts'

const token = z.string().min(1).max(200)
const tokenExample = `ainv_${'0123456789abcdef'.repeat(4)}`
const Acceptance = z
  .strictObject({ token, email: z.email().max(320), name: z.string().trim().min(1).max(200).optional() })
  .openapi('InvitationAcceptance')
const Join = z.strictObject({ token }).openapi('InvitationJoin')
const Accepted = Joined.extend({
  user_id: z.uuid(),
  api_key_id: z.uuid(),
  key: z.string().openapi({ description: 'The key of the person, this once. It acts as its user, with their role.' }),
}).openapi('AcceptedInvitation')

export const invitationsRoutes: RouteGroup = {
  prefix: '/api/invitations',
  tag: 'Team',
  description: 'Accepting an invitation.',
  operations: [
    operation(
      {
        operationId: 'acceptInvitation',
        method: 'post',
        path: '/accept',
        summary: 'Accept an invitation and receive a personal key',
        description:
          'Where no identity provider is configured. An unknown, used, revoked or ended token and another address answer alike.',
        access: 'public',
        verifiesSender: true,
        body: Acceptance,
        bodyExample: { token: tokenExample, email: 'user@example.com', name: 'Example User' },
        responses: {
          200: {
            description: 'The workspace, and the key.',
            schema: Accepted,
            example: {
              ...joinedExample,
              user_id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
              api_key_id: '01939f3c-5c2c-7b3e-9d1a-2f6b8c4d5e6f',
              key: `ak_srv_${'0123456789abcdef'.repeat(4)}`,
            },
          },
        },
        problems: ['not-found', 'forbidden', 'limit-reached'],
      },
      async (runtime, { body }) => reply(200, await redeemInvitation(runtime, body)),
    ),
    operation(
      {
        operationId: 'joinByInvitation',
        method: 'post',
        path: '/join',
        summary: 'Accept an invitation as the user who is signed in',
        description:
          'The address that the token of the user tells must be the one that is invited; another answers as an unknown invitation does.',
        access: 'authenticated',
        body: Join,
        bodyExample: { token: tokenExample },
        responses: {
          200: {
            description: 'The workspace. Name it in `X-Workspace-ID`, or switch to it.',
            schema: Joined.openapi('JoinedWorkspace'),
            example: joinedExample,
          },
        },
        problems: ['not-found', 'forbidden', 'conflict', 'limit-reached'],
      },
      async (ctx, { body }) => reply(200, await joinByInvitation(ctx, body.token)),
    ),
  ],
}
