import { z } from '@hono/zod-openapi'
import type { Json } from '../lib/json.ts'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import { createApprovalLink, decideApproval, getApproval, listApprovals } from '../services/approvals.service.ts'
import {
  approvalExample,
  approvalLinkSchema,
  approvalParams,
  approvalSchema,
  approvalStatusSchema,
  decidedExample,
  decisionSchema,
  linkBodySchema,
  linkExample,
} from './approvals.schemas.ts'

export const approvalsRoutes: RouteGroup = {
  prefix: '/api/approvals',
  tag: 'Approvals',
  description: 'What runs ask people to decide.',
  operations: [
    operation(
      {
        operationId: 'listApprovals',
        method: 'get',
        path: '/',
        summary: 'List approvals',
        description: 'The inbox is `?status=pending`.',
        access: 'approvals:read',
        query: z.object({
          ...pageQuery,
          status: approvalStatusSchema.optional(),
          execution_id: z.uuid().optional(),
        }),
        responses: {
          200: {
            description: 'Newest first.',
            schema: pageOf(approvalSchema).openapi('ApprovalList'),
            example: { items: [approvalExample], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listApprovals(ctx, { ...query, execution: query.execution_id })),
    ),
    operation(
      {
        operationId: 'getApproval',
        method: 'get',
        path: '/{approval}',
        summary: 'Get an approval',
        access: 'approvals:read',
        params: approvalParams,
        responses: { 200: { description: 'The approval.', schema: approvalSchema, example: approvalExample } },
        problems: ['not-found'],
      },
      async (ctx, { params }) => reply(200, await getApproval(ctx, params.approval)),
    ),
    operation(
      {
        operationId: 'decideApproval',
        method: 'post',
        path: '/{approval}/decide',
        summary: 'Approve or reject',
        description:
          'Decides once: whoever comes second gets 409, whatever they wanted. The run goes on at once; an approved payload is what the steps behind it read.',
        access: 'approvals:decide',
        params: approvalParams,
        body: decisionSchema,
        bodyExample: { decision: 'approved', comment: 'Shorter subject.', payload: { subject: 'Your week' } },
        responses: { 200: { description: 'As it was decided.', schema: approvalSchema, example: decidedExample } },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body }) => {
        const { kind, id } = ctx.actor
        // Safe: the schema lets nothing but JSON through.
        const decision = { ...body, payload: body.payload as Json | undefined }
        return reply(200, await decideApproval(ctx, params.approval, decision, { kind, id }))
      },
    ),
    operation(
      {
        operationId: 'createApprovalLink',
        method: 'post',
        path: '/{approval}/links',
        summary: 'Make a link that decides an approval',
        description:
          'For somebody without an account: a small page shows what is to be decided, and a form there decides it, once. Opening the page decides nothing. The link ends with its time, and with the key or the member that made it. An approval has at most 20 links at a time.',
        access: 'approvals:decide',
        idempotent: 'sealed',
        params: approvalParams,
        body: linkBodySchema,
        bodyOptional: true,
        bodyExample: { issued_to: 'The editor on duty', expires_in: '8h' },
        responses: { 201: { description: 'The link.', schema: approvalLinkSchema, example: linkExample } },
        problems: ['not-found', 'conflict'],
      },
      async (ctx, { params, body }) =>
        reply(
          201,
          await createApprovalLink(ctx, params.approval, { issuedTo: body.issued_to, life: body.expires_in }),
          { 'cache-control': 'no-store' },
        ),
    ),
  ],
}
