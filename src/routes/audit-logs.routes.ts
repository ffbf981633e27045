import { z } from '@hono/zod-openapi'
import { operation, reply, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import { instant } from '../lib/time-range.ts'
import { exportAuditLogs, getAuditLog, listAuditLogs, verifyAuditLogs } from '../services/audit.service.ts'

const anything = z.json().openapi({ type: ['object', 'array', 'string', 'number', 'boolean', 'null'] })
const AuditLog = z
  .object({
    id: z.uuid(),
    seq: z.int().openapi({ description: 'Its number in the log of the workspace: 1, 2, 3 … without gaps.' }),
    actor: z.object({ kind: z.enum(['key', 'user', 'system']), id: z.string() }),
    action: z.string().openapi({ description: '`resource.verb_past`.' }),
    target: z.object({ type: z.string(), id: z.string() }),
    before: anything.openapi({ description: 'What was, as far as it changed. Secrets are `***`.' }),
    after: anything.openapi({ description: 'What is since. Secrets are `***`.' }),
    request_id: z.string().nullable(),
    client_address: z.string().nullable(),
    redacted: z
      .array(z.enum(['change', 'address']))
      .openapi({ description: 'Parts that were taken away when a person was erased; their hashes stay.' }),
    hash: z.string().openapi({ description: 'SHA-256 over the entry and the hash of the one before it.' }),
    created_at: z.iso.datetime(),
  })
  .openapi('AuditLog')

const auditLogExample = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  seq: 42,
  actor: { kind: 'user' as const, id: '01939f3c-0000-7b3e-9d1a-2f6b8c4d5e6f' },
  action: 'api_key.revoked',
  target: { type: 'api_key', id: '01939f3c-1111-7b3e-9d1a-2f6b8c4d5e6f' },
  before: { revoked_at: null },
  after: { revoked_at: '2026-11-22T08:00:00.000Z' },
  request_id: '4f1d8a2c90ab',
  client_address: '203.0.113.9',
  redacted: [],
  hash: '5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef',
  created_at: '2026-11-22T08:00:00.000Z',
}

const filters = {
  actor_id: z.string().max(200).optional().openapi({ description: 'Id of the key, the user or the run that acted.' }),
  action: z.string().max(100).optional().openapi({ example: 'api_key.created' }),
  target_type: z.string().max(100).optional().openapi({ example: 'api_key' }),
  target_id: z.string().max(500).optional(),
  since: instant().optional().openapi({ description: 'From this time on.' }),
  until: instant().optional().openapi({ description: 'Before this time.' }),
}

const Link = z.object({ seq: z.int(), hash: z.string(), created_at: z.iso.datetime() })
const Verification = z
  .object({
    valid: z.boolean().openapi({ description: 'Nothing of what was looked at differs from what was written.' }),
    complete: z.boolean().openapi({ description: 'Nothing is left to look at.' }),
    checked: z.int(),
    from_seq: z.int(),
    to_seq: z.int().openapi({ description: 'Up to here the log is whole.' }),
    next_from: z.int().nullable().openapi({ description: '`from` of the next call, where the limit ended this one.' }),
    signed_seq: z.int().openapi({ description: 'The newest entry on the way that a good checkpoint signs; 0 = none.' }),
    redacted: z.int().openapi({ description: 'Entries of which something was taken away.' }),
    head: Link.nullable().openapi({ description: 'The last entry. Whoever notes it can ask for it with `known_seq`.' }),
    anchor: Link.nullable().openapi({ description: 'Where the retention has cut: the log begins behind it.' }),
    broken: z
      .object({
        seq: z.int(),
        kind: z.enum(['missing', 'changed', 'unlinked', 'checkpoint', 'anchor', 'head', 'known']),
        detail: z.string(),
      })
      .nullable()
      .openapi({ description: 'The first entry that is not what was written.' }),
  })
  .openapi('AuditVerification')

export const auditLogsRoutes: RouteGroup = {
  prefix: '/api/audit-logs',
  tag: 'Audit logs',
  description:
    'Who did what, when and from where. Each entry holds the hash of the one before it, so that tampering shows.',
  operations: [
    operation(
      {
        operationId: 'listAuditLogs',
        method: 'get',
        path: '/',
        summary: 'List the audit log of the workspace',
        access: 'audit:read',
        query: z.object({ ...pageQuery, ...filters }),
        responses: {
          200: {
            description: 'Newest first.',
            schema: pageOf(AuditLog).openapi('AuditLogList'),
            example: { items: [auditLogExample], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listAuditLogs(ctx, query)),
    ),
    operation(
      {
        operationId: 'verifyAuditLogs',
        method: 'get',
        path: '/verify',
        summary: 'Recompute the log and find the first entry that was tampered with',
        description:
          'Finds entries that were changed, deleted or put elsewhere, and an end that was cut off, which signed checkpoints show. A long log takes several calls: each goes on at the `next_from` of the one before.',
        access: 'audit:read',
        query: z.object({
          from: z.coerce.number().int().min(1).optional().openapi({ description: 'The entry to begin with.' }),
          limit: z.coerce
            .number()
            .int()
            .min(1)
            .max(100_000)
            .default(10_000)
            .openapi({ description: 'How many entries at most.' }),
          known_seq: z.coerce
            .number()
            .int()
            .min(1)
            .optional()
            .openapi({ description: 'Number of an entry whose hash was noted outside.' }),
          known_hash: z
            .string()
            .regex(/^[0-9a-fA-F]{64}$/)
            .optional()
            .openapi({ description: 'Its hash.' }),
        }),
        responses: {
          200: {
            description: 'What was found.',
            schema: Verification,
            example: {
              valid: true,
              complete: true,
              checked: 42,
              from_seq: 1,
              to_seq: 42,
              next_from: null,
              signed_seq: 40,
              redacted: 0,
              head: { seq: 42, hash: auditLogExample.hash, created_at: auditLogExample.created_at },
              anchor: null,
              broken: null,
            },
          },
        },
      },
      async (ctx, { query }) => reply(200, await verifyAuditLogs(ctx, query)),
    ),
    operation(
      {
        operationId: 'exportAuditLogs',
        method: 'get',
        path: '/export',
        summary: 'Download the log',
        description:
          "Oldest first, as one stream. In CSV a text that a spreadsheet would run as a formula begins with `'`.",
        access: 'audit:read',
        query: z.object({ ...filters, format: z.enum(['ndjson', 'csv']).default('ndjson') }),
        responses: {
          200: {
            description: 'One entry a line.',
            contentType: 'application/x-ndjson',
            schema: z.string(),
            example: `${JSON.stringify(auditLogExample)}\n`,
            alternatives: { 'text/csv': { schema: z.string(), example: 'seq,id,created_at\r\n' } },
          },
        },
      },
      (ctx, { query }) => ({
        status: 200,
        contentType: query.format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson',
        headers: {
          'content-disposition': `attachment; filename="audit-logs.${query.format}"`,
          'cache-control': 'no-store',
        },
        body: exportAuditLogs(ctx, query),
      }),
    ),
    operation(
      {
        operationId: 'getAuditLog',
        method: 'get',
        path: '/{entry}',
        summary: 'Read an entry of the log',
        access: 'audit:read',
        params: z.object({ entry: z.string().openapi({ description: 'Id of the entry.' }) }),
        responses: { 200: { description: 'The entry.', schema: AuditLog, example: auditLogExample } },
        problems: ['not-found'],
      },
      async (ctx, { params: { entry } }) => reply(200, await getAuditLog(ctx, entry)),
    ),
  ],
}
