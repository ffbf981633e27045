import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { getRetention, retentionTag, updateRetention } from '../services/retention.service.ts'

const days = z.int().min(0).max(36_500)
const described = {
  executions_days: 'Ended executions with their steps, calls, events, waits, approvals, files and large values.',
  schedule_slots_days: 'Slots of the ledger, and alerts.',
  webhook_logs_days: 'What webhooks received and what subscriptions were told.',
  audit_days: 'The audit log. What is left of it still verifies.',
  model_usage_days:
    'What each model call has used and cost; at least 32, for budgets count their months from it, and no shorter than executions.',
  replays_days: 'Comparisons that have ended, with their reports.',
  workflows_days: 'Workflows that have ended, with their plans; no shorter than executions.',
  files_days: 'Uploaded files without an `expires_at`; applies to those that are uploaded from then on.',
}
const fields = <T extends z.ZodType>(schema: T) => ({
  executions_days: schema.openapi({ description: described.executions_days }),
  schedule_slots_days: schema.openapi({ description: described.schedule_slots_days }),
  webhook_logs_days: schema.openapi({ description: described.webhook_logs_days }),
  files_days: schema.openapi({ description: described.files_days }),
  audit_days: schema.openapi({ description: described.audit_days }),
  model_usage_days: schema.openapi({ description: described.model_usage_days }),
  replays_days: schema.openapi({ description: described.replays_days }),
  workflows_days: schema.openapi({ description: described.workflows_days }),
})
const Deleted = z.object({ count: z.int(), last_deleted_at: z.iso.datetime().nullable() })

const Retention = z
  .object({
    days: z.object(fields(days)).openapi({ description: 'In effect. 0 keeps for ever.' }),
    settings: z
      .object(fields(days.nullable()))
      .openapi({ description: 'Of the workspace. Null = the default of the installation.' }),
    deleted: z
      .object({
        executions: Deleted,
        schedule_slots: Deleted,
        webhook_logs: Deleted,
        model_usage: Deleted,
        replays: Deleted,
        workflows: Deleted,
      })
      .openapi({ description: 'What was deleted so far.' }),
  })
  .openapi('Retention')
const RetentionPatch = z.strictObject(fields(days.nullable().optional())).openapi('RetentionPatch')

const example = {
  days: {
    executions_days: 30,
    schedule_slots_days: 90,
    webhook_logs_days: 30,
    files_days: 0,
    audit_days: 365,
    model_usage_days: 400,
    replays_days: 90,
    workflows_days: 400,
  },
  settings: {
    executions_days: 30,
    schedule_slots_days: null,
    webhook_logs_days: null,
    files_days: null,
    audit_days: null,
    model_usage_days: null,
    replays_days: null,
    workflows_days: null,
  },
  deleted: {
    executions: { count: 1200, last_deleted_at: '2026-11-22T08:00:00.000Z' },
    schedule_slots: { count: 0, last_deleted_at: null },
    webhook_logs: { count: 0, last_deleted_at: null },
    model_usage: { count: 0, last_deleted_at: null },
    replays: { count: 0, last_deleted_at: null },
    workflows: { count: 0, last_deleted_at: null },
  },
}

export const workspaceRetentionRoutes: RouteGroup = {
  prefix: '/api/workspaces',
  tag: 'Workspaces',
  description: 'How long a workspace keeps what has ended.',
  operations: [
    operation(
      {
        operationId: 'getRetention',
        method: 'get',
        path: '/current/retention',
        summary: 'Read how long the workspace keeps what has ended',
        access: 'workspaces:read',
        responses: { 200: { description: 'The retention and its figures.', schema: Retention, example } },
        etag: 'read',
      },
      async (ctx) => {
        const retention = await getRetention(ctx)
        return reply(200, retention, { etag: retentionTag(retention) })
      },
    ),
    operation(
      {
        operationId: 'updateRetention',
        method: 'patch',
        path: '/current/retention',
        summary: 'Change how long the workspace keeps what has ended',
        description: 'What is not given stays; null goes back to the default, 0 keeps for ever.',
        access: 'workspaces:manage',
        body: RetentionPatch,
        bodyExample: { executions_days: 30 },
        responses: { 200: { description: 'The retention as it is now.', schema: Retention, example } },
        etag: 'change',
        problems: ['conflict'],
      },
      async (ctx, { body, request }) => {
        const retention = await updateRetention(ctx, body, request.headers.get('if-match'))
        return reply(200, retention, { etag: retentionTag(retention) })
      },
    ),
  ],
}
