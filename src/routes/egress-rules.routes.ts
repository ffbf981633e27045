import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  createEgressRule,
  deleteEgressRule,
  egressRuleTag,
  getEgressRule,
  listEgressRules,
} from '../services/egress-rules.service.ts'

const example = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e70',
  action: 'deny',
  pattern: '*.tracker.example',
  note: 'Moved to another provider',
  created_at: '2026-11-22T08:00:00.000Z',
}
const action = z.enum(['allow', 'deny'])
const EgressRule = z
  .object({
    id: z.uuid(),
    action,
    pattern: z.string(),
    note: z.string().nullable(),
    created_at: z.iso.datetime(),
  })
  .openapi('EgressRule')
const NewEgressRule = z
  .strictObject({
    action,
    pattern: z.string().trim().min(1).max(300).openapi({
      description: 'A host, `host:port`, `*.suffix`, an address or a CIDR range.',
    }),
    note: z.string().trim().min(1).max(500).optional().openapi({ description: 'For people.' }),
  })
  .openapi('NewEgressRule')
const params = z.object({ rule: z.string().openapi({ description: 'Id of the rule.' }) })

export const egressRulesRoutes: RouteGroup = {
  prefix: '/api/egress-rules',
  tag: 'Egress rules',
  description:
    'Where requests of the workspace may go. Denial wins; once there is an `allow`, nothing else is allowed. What the operator has closed stays closed.',
  operations: [
    operation(
      {
        operationId: 'createEgressRule',
        method: 'post',
        path: '/',
        summary: 'Allow or deny a destination',
        access: 'credentials:manage',
        idempotent: 'stored',
        body: NewEgressRule,
        bodyExample: { action: example.action, pattern: example.pattern, note: example.note },
        responses: {
          201: {
            description: 'The rule, which holds from now on.',
            schema: EgressRule,
            headers: { location: 'The address of the rule.' },
            example,
          },
        },
        etag: 'create',
        problems: ['conflict'],
      },
      async (ctx, { body }) => {
        const rule = await createEgressRule(ctx, body)
        return reply(201, rule, { location: `/api/egress-rules/${rule.id}`, etag: egressRuleTag(rule) })
      },
    ),
    operation(
      {
        operationId: 'listEgressRules',
        method: 'get',
        path: '/',
        summary: 'List where requests may go',
        access: 'credentials:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Newest first.',
            schema: pageOf(EgressRule).openapi('EgressRuleList'),
            example: { items: [example], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listEgressRules(ctx, query)),
    ),
    operation(
      {
        operationId: 'getEgressRule',
        method: 'get',
        path: '/{rule}',
        summary: 'Read a rule',
        access: 'credentials:read',
        params,
        responses: { 200: { description: 'The rule.', schema: EgressRule, example } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const rule = await getEgressRule(ctx, params.rule)
        return reply(200, rule, { etag: egressRuleTag(rule) })
      },
    ),
    operation(
      {
        operationId: 'deleteEgressRule',
        method: 'delete',
        path: '/{rule}',
        summary: 'Delete a rule',
        access: 'credentials:manage',
        params,
        responses: { 204: { description: 'The rule is gone.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { rule }, request }) => {
        await deleteEgressRule(ctx, rule, request.headers.get('if-match'))
        return reply(204)
      },
    ),
  ],
}
