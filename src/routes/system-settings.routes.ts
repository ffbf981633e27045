import { z } from '@hono/zod-openapi'
import { operation, reply, type Operation, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import {
  getSetting,
  listSettingChanges,
  listSettings,
  resetSetting,
  setSetting,
  settingTag,
} from '../services/settings.service.ts'

const value = z.union([z.string().max(1000), z.number()])
const Value = value.nullable()
const Setting = z
  .object({
    key: z.string(),
    category: z.string(),
    description: z.string(),
    type: z.enum(['string', 'integer']),
    expects: z.string().openapi({ description: 'What it takes, in words.' }),
    minimum: z.int().nullable(),
    maximum: z.int().nullable(),
    choices: z.array(z.string()).nullable(),
    permission: z.literal('system:manage').openapi({ description: 'Who may change it.' }),
    value: Value.openapi({ description: 'In effect.' }),
    source: z.enum(['database', 'environment', 'default', 'computed', 'unset']),
    database_value: Value,
    environment_value: Value,
    default_value: Value,
    updated_at: z.iso.datetime().nullable(),
    updated_by: z.string().nullable(),
  })
  .openapi('SystemSetting')
const settingExample = {
  key: 'RATE_LIMIT_AUTHENTICATED',
  category: 'Rate limits',
  description: 'Requests a key may make, unless it has a limit of its own.',
  type: 'string' as const,
  expects: 'a rate like 60/minute (second, minute, hour or day) or a number a minute',
  minimum: null,
  maximum: null,
  choices: null,
  permission: 'system:manage' as const,
  value: '1200/minute',
  source: 'database' as const,
  database_value: '1200/minute',
  environment_value: null,
  default_value: '600/minute',
  updated_at: '2026-11-22T08:00:00.000Z',
  updated_by: 'user:01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
}
const Change = z
  .object({
    id: z.uuid(),
    changed_at: z.iso.datetime(),
    changed_by: z.object({ kind: z.string(), id: z.string() }),
    from: Value.openapi({ description: 'In the database; null = it was not set there.' }),
    to: Value,
    request_id: z.string().nullable(),
  })
  .openapi('SystemSettingChange')

const params = z.object({ setting: z.string().openapi({ description: 'Its name.', example: 'LOG_LEVEL' }) })

const set: Operation = operation(
  {
    operationId: 'setSystemSetting',
    method: 'put',
    path: '/{setting}',
    summary: 'Set a setting in place of the environment',
    description:
      'Counts in the process that answers at once, in every other as soon as the database has told it, at the latest after five seconds (on Workers with the requests behind those).',
    access: 'system:manage',
    params,
    body: z.strictObject({ value }),
    bodyExample: { value: '1200/minute' },
    responses: { 200: { description: 'The setting.', schema: Setting, example: settingExample } },
    etag: 'change',
    problems: ['not-found'],
  },
  async (ctx, { params: { setting }, body, request }) => {
    const changed = await setSetting(ctx, setting, body.value, request.headers.get('if-match'))
    return reply(200, changed, { etag: settingTag(changed) })
  },
)

export const systemSettingsRoutes: RouteGroup = {
  prefix: '/api/system-settings',
  tag: 'System',
  description: 'The installation itself: its settings, its parts, its figures. For its operator.',
  operations: [
    operation(
      {
        operationId: 'listSystemSettings',
        method: 'get',
        path: '/',
        summary: 'List the settings that the database may override',
        access: 'system:read',
        responses: {
          200: {
            description: 'All of them, each with where its value comes from.',
            schema: pageOf(Setting).openapi('SystemSettingList'),
            example: { items: [settingExample], next_cursor: null },
          },
        },
      },
      async (ctx) => reply(200, { items: await listSettings(ctx), next_cursor: null }),
    ),
    operation(
      {
        operationId: 'getSystemSetting',
        method: 'get',
        path: '/{setting}',
        summary: 'Read a setting',
        access: 'system:read',
        params,
        responses: { 200: { description: 'The setting.', schema: Setting, example: settingExample } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params: { setting } }) => {
        const found = await getSetting(ctx, setting)
        return reply(200, found, { etag: settingTag(found) })
      },
    ),
    set,
    operation(
      {
        operationId: 'resetSystemSetting',
        method: 'delete',
        path: '/{setting}',
        summary: 'Go back to what the environment says',
        access: 'system:manage',
        params,
        responses: { 204: { description: 'The database says nothing of it any more.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { setting }, request }) => {
        await resetSetting(ctx, setting, request.headers.get('if-match'))
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'listSystemSettingChanges',
        method: 'get',
        path: '/{setting}/history',
        summary: 'List who changed a setting, from what to what',
        access: 'system:read',
        params,
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Newest first, as long as the audit log is kept.',
            schema: pageOf(Change).openapi('SystemSettingChangeList'),
            example: {
              items: [
                {
                  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
                  changed_at: '2026-11-22T08:00:00.000Z',
                  changed_by: { kind: 'user', id: '01939f3c-0000-7b3e-9d1a-2f6b8c4d5e6f' },
                  from: null,
                  to: '1200/minute',
                  request_id: '4f1d8a2c90ab',
                },
              ],
              next_cursor: null,
            },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { setting }, query }) =>
        reply(200, await listSettingChanges(ctx, { key: setting, ...query })),
    ),
  ],
}
