import { z } from '@hono/zod-openapi'
import { approvalStates } from '../services/approvals/approval.ts'

const time = z.iso.datetime()
const anyJson = (description: string) =>
  z.json().openapi({ description, type: ['object', 'array', 'string', 'number', 'boolean', 'null'] })

export const approvalParams = z.object({ approval: z.string().openapi({ description: 'Id of the approval.' }) })

export const approvalStatusSchema = z
  .enum(approvalStates)
  .openapi('ApprovalStatus', { description: '`canceled`: the run, or the step, ended without a decision.' })

export const approvalSchema = z
  .object({
    id: z.uuid(),
    status: approvalStatusSchema,
    execution_id: z.uuid(),
    recipe_id: z.uuid().nullable(),
    recipe_name: z.string().nullable(),
    step_id: z.string(),
    step_path: z.string().openapi({ description: 'Path of the step in the execution: `ok`, `each/3/ok`.' }),
    name: z.string().nullable().openapi({ description: 'Name of the step, for people.' }),
    message: z.string(),
    payload: anyJson('What is decided on.'),
    payload_schema: z.looseObject({}).nullable().openapi({ description: 'JSON Schema of an edited payload.' }),
    comment: z.string().nullable(),
    decided_payload: anyJson('The payload as it was approved, where it was edited; else null.'),
    decided_by: z
      .looseObject({ kind: z.string() })
      .nullable()
      .openapi({ description: '`{kind: key | user | link, id, name}`.' }),
    decided_at: time.nullable(),
    created_at: time,
    expires_at: time.nullable(),
  })
  .openapi('Approval')

export const decisionSchema = z
  .strictObject({
    decision: z.enum(['approved', 'rejected']),
    comment: z.string().trim().max(4_000).optional(),
    payload: z
      .json()
      .optional()
      .openapi({
        description: 'In place of the payload, with an approval only. Checked against `payload_schema`.',
        type: ['object', 'array', 'string', 'number', 'boolean', 'null'],
      }),
  })
  .openapi('DecideApproval')

export const linkBodySchema = z
  .strictObject({
    issued_to: z
      .string()
      .trim()
      .min(1)
      .max(200)
      .optional()
      .openapi({ description: 'Whom it is for; shown with the decision.' }),
    expires_in: z.string().max(60).optional().openapi({
      description: 'A duration, at most 30d. Default 7d, and never longer than the approval.',
      example: '8h',
    }),
  })
  .openapi('CreateApprovalLink')

export const approvalLinkSchema = z
  .object({
    url: z.url().openapi({ description: 'Opens without an account. Shown once.' }),
    issued_to: z.string().nullable(),
    expires_at: time,
  })
  .openapi('ApprovalLink')

const id = '01939f3c-7a10-7c41-9b52-4d1e6f7a8b9c'
export const approvalExample = {
  id,
  status: 'pending',
  execution_id: '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f',
  recipe_id: '01939f3c-5c2a-7b3e-9d1a-000000000001',
  recipe_name: 'Weekly newsletter',
  step_id: 'ok',
  step_path: 'ok',
  name: null,
  message: 'Send the newsletter to 412 readers?',
  payload: { subject: 'This week' },
  payload_schema: { type: 'object', properties: { subject: { type: 'string', maxLength: 80 } }, required: ['subject'] },
  comment: null,
  decided_payload: null,
  decided_by: null,
  decided_at: null,
  created_at: '2026-11-22T08:00:00.000Z',
  expires_at: '2026-11-22T16:00:00.000Z',
}
export const decidedExample = {
  ...approvalExample,
  status: 'approved',
  comment: 'Shorter subject.',
  decided_payload: { subject: 'Your week' },
  decided_by: { kind: 'key', id: '01939f3c-0000-7000-8000-000000000001' },
  decided_at: '2026-11-22T09:12:44.031Z',
}
export const linkExample = {
  url: `https://automatos.example/api/approvals/${id}/page?token=01939f3d.k1.c2lnbmVk`,
  issued_to: 'The editor on duty',
  expires_at: '2026-11-22T16:00:00.000Z',
}
