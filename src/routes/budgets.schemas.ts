import { z } from '@hono/zod-openapi'
import { scopeTypes } from '../services/budgets.service.ts'

const id = '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
const scope = { type: 'agent' as const, id: '01939f3c-5c2a-7b3e-9d1a-000000000002' }
const settings = {
  limit_usd: '25.00',
  window: 'month' as const,
  zone: 'Europe/Berlin',
  thresholds: [50, 80],
  unknown_price: 'refuse' as const,
}
const budget = {
  id,
  scope,
  ...settings,
  limit_usd: '25',
  window_start: '2026-10-31T23:00:00.000Z',
  window_end: '2026-11-30T23:00:00.000Z',
  spent_usd: '13.20417',
  reserved_usd: '0.4812',
  remaining_usd: '11.31463',
  measured: { calls: 812, unpriced_calls: 0 },
  version: 1,
  created_at: '2026-11-02T08:00:00.000Z',
  updated_at: '2026-11-02T08:00:00.000Z',
}
export const examples = {
  budget,
  create: { scope, ...settings },
  change: { limit_usd: '40.00' },
  budgets: { items: [budget], next_cursor: null },
}

export const scopeType = z.enum(scopeTypes)
const usd = (description: string) => z.string().openapi({ description: `${description} Exact decimal.` })

const fields = {
  limit_usd: z
    .string()
    .regex(/^(?=.*[1-9])\d{1,9}(\.\d{1,9})?$/, 'must be an amount above 0 as a text, such as "25.00"')
    .openapi({ description: 'US dollars that model calls may cost in a window.', example: '25.00' }),
  window: z
    .enum(['day', 'week', 'month', 'total'])
    .openapi({ description: 'Weeks begin on Mondays. `total` counts from when it was made, without end.' }),
  zone: z.string().min(1).max(64).openapi({ description: 'By whose calendar windows turn.', example: 'Europe/Berlin' }),
  thresholds: z
    .array(z.int().min(1).max(100))
    .max(20)
    .openapi({ description: 'Percents of the limit; each is told once a window, as `budget.threshold_reached`.' }),
  unknown_price: z.enum(['refuse', 'allow']).openapi({
    description: 'What becomes of calls whose price is not known. Those that are let through are counted, in no sum.',
  }),
}

export const NewBudget = z
  .strictObject({
    scope: z.strictObject({
      type: scopeType,
      id: z.string().max(100).optional().openapi({ description: 'Needed but for the workspace.' }),
    }),
    limit_usd: fields.limit_usd,
    window: fields.window,
    zone: fields.zone.default('UTC'),
    thresholds: fields.thresholds.default([80]),
    unknown_price: fields.unknown_price.default('refuse'),
  })
  .openapi('NewBudget')

export const BudgetChanges = z
  .strictObject({
    limit_usd: fields.limit_usd.optional(),
    window: fields.window.optional(),
    zone: fields.zone.optional(),
    thresholds: fields.thresholds.optional(),
    unknown_price: fields.unknown_price.optional(),
  })
  .openapi('BudgetChanges')

export const Budget = z
  .object({
    id: z.uuid(),
    scope: z.object({ type: scopeType, id: z.uuid() }),
    ...fields,
    window_start: z.iso.datetime(),
    window_end: z.iso.datetime().nullable().openapi({ description: 'Null: it never turns.' }),
    spent_usd: usd('What calls have cost in the running window.'),
    reserved_usd: usd('What calls that are under way may cost at most.'),
    remaining_usd: usd('The limit less both; below 0 where the last call went beyond it.'),
    measured: z.object({
      calls: z.int().openapi({ description: 'Calls of the window whose end is known.' }),
      unpriced_calls: z.int().openapi({ description: 'Those among them whose cost is not known, and in no sum.' }),
    }),
    version: z.int(),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi('Budget')
