import { z } from '@hono/zod-openapi'
import { credentialTypeIds } from '../services/credentials.service.ts'

export const credentialTestExample = {
  ok: true,
  detail: 'It was accepted (200).',
  tested_at: '2026-11-22T08:00:00.000Z',
  latency_ms: 84,
}
export const CredentialTest = z
  .object({
    ok: z.boolean().nullable().openapi({ description: 'Null where there was nothing to test, or no way to.' }),
    detail: z.string(),
    tested_at: z.iso.datetime(),
    latency_ms: z.number().nullable(),
  })
  .openapi('CredentialTest')

export const credentialExample = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  slug: 'issue-tracker',
  name: 'Issue tracker',
  kind: 'bearer',
  hosts: ['api.tracker.example'],
  fields: ['token'],
  values: {},
  field_schema: null,
  test_url: 'https://api.tracker.example/me',
  version: 1,
  connection: null,
  token_expires_at: null,
  last_test: credentialTestExample,
  last_used_at: null,
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:00.000Z',
}

const kind = z.enum(credentialTypeIds)
const anyObject = z.record(z.string(), z.unknown())
const hosts = z.array(z.string().min(1).max(300)).min(1).max(50)
const described = {
  hosts: 'Hosts that may receive the secret: `host`, `host:port` or `*.suffix`. Default: those of the type.',
  fieldSchema: 'Of type `custom` alone: a JSON Schema of the fields; `secret: true` marks what is sealed.',
  testUrl: 'Asked with GET to test the credential; on one of its hosts.',
}

export const Credential = z
  .object({
    id: z.uuid(),
    slug: z.string(),
    name: z.string(),
    kind: kind.openapi({ description: 'Its type, as `GET /api/credentials/types` lists them.' }),
    hosts: z.array(z.string()).openapi({ description: 'The only hosts that the secret is sent to.' }),
    fields: z.array(z.string()).openapi({ description: "Names for `secret('slug.field')`." }),
    values: anyObject.openapi({ description: 'Of the fields that are no secrets. Secrets are never shown.' }),
    field_schema: anyObject.nullable(),
    test_url: z.string().nullable(),
    version: z.int(),
    connection: z
      .enum(['pending', 'connected', 'reauthorize'])
      .nullable()
      .openapi({ description: 'Of type `oauth2_authorization_code`: whether somebody has consented.' }),
    token_expires_at: z.iso.datetime().nullable(),
    last_test: CredentialTest.nullable(),
    last_used_at: z.iso.datetime().nullable().openapi({ description: 'Exact to the minute.' }),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Credential')

const name = z.string().trim().min(1).max(200)
const testUrl = z.string().max(2000).nullable().optional().openapi({ description: described.testUrl })

export const NewCredential = z
  .strictObject({
    slug: z.string().regex(/^[a-z][a-z0-9-]{1,62}$/, 'must match [a-z][a-z0-9-]{1,62}'),
    name: name.optional().openapi({ description: 'For people. Default: the slug.' }),
    kind,
    hosts: hosts.optional().openapi({ description: described.hosts }),
    fields: anyObject.openapi({ description: 'As the schema of the type says.' }),
    field_schema: anyObject.optional().openapi({ description: described.fieldSchema }),
    test_url: testUrl,
  })
  .openapi('NewCredential')

export const CredentialChanges = z
  .strictObject({
    name: name.optional(),
    hosts: hosts.optional().openapi({ description: described.hosts }),
    fields: anyObject.optional().openapi({ description: 'Replaces single fields; null takes one away.' }),
    test_url: testUrl,
  })
  .openapi('CredentialChanges')

export const CredentialType = z
  .object({
    id: z.string(),
    name: z.string(),
    description: z.string(),
    schema: anyObject.openapi({ description: 'JSON Schema of the fields; `secret: true` marks what is sealed.' }),
    hosts: z.object({ fixed: z.array(z.string()).optional(), fields: z.array(z.string()).optional() }).optional(),
    test: z.enum(['request', 'sign-in']),
  })
  .openapi('CredentialType')

export const CredentialUsage = z
  .object({
    id: z.uuid(),
    used_at: z.iso.datetime(),
    host: z.string(),
    outcome: z.string().openapi({ description: '`sent`, or the kind of the failure.' }),
    status: z.int().nullable().openapi({ description: 'What the host answered.' }),
    run_id: z.string().nullable(),
    step: z.string().nullable(),
    agent_id: z.string().nullable(),
    tool: z.string().nullable(),
    count: z.int().openapi({ description: 'Uses that were alike and written at once.' }),
  })
  .openapi('CredentialUsage')

export const credentialUsageExample = {
  id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e72',
  used_at: '2026-11-22T08:00:00.000Z',
  host: 'api.tracker.example',
  outcome: 'sent',
  status: 200,
  run_id: '01939f3d-0000-7b3e-9d1a-2f6b8c4d5e6f',
  step: 'fetch',
  agent_id: null,
  tool: null,
  count: 1,
}
