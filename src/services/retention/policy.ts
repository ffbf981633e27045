import { sql, type RawBuilder } from 'kysely'
import type { Config } from '../../config.ts'
import type { ServiceContext } from '../../context.ts'
import type { RetentionKind } from '../../db/tables/retention.table.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag, requireMatch } from '../../lib/etag.ts'
import { changesOf, recordAudit, type AuditContext } from '../audit/record.ts'
import { liveConfig } from '../settings/live.ts'
import { lockCurrent } from '../workspaces/current.ts'

export const retentionFields = [
  'executions_days',
  'schedule_slots_days',
  'webhook_logs_days',
  'files_days',
  'audit_days',
  'model_usage_days',
  'replays_days',
  'workflows_days',
] as const
export type RetentionField = (typeof retentionFields)[number]

export interface Retention {
  /** In effect. 0 = for ever. */
  days: Record<RetentionField, number>
  /** As the workspace has them. Null = the default of the installation. */
  settings: Record<RetentionField, number | null>
  /** What the tick has deleted so far. */
  deleted: Record<RetentionKind, { count: number; last_deleted_at: string | null }>
}

type Context = Pick<ServiceContext, 'db' | 'config'> & AuditContext

/** As the environment and the system settings have them now. */
const defaultDays = (config: Config): Record<RetentionField, number> => daysOfConfig(liveConfig(config))
const daysOfConfig = (config: Config): Record<RetentionField, number> => ({
  executions_days: config.retentionExecutionsDays,
  schedule_slots_days: config.retentionScheduleSlotsDays,
  webhook_logs_days: config.retentionWebhookLogsDays,
  files_days: config.retentionFilesDays,
  audit_days: config.retentionAuditDays,
  model_usage_days: config.retentionModelUsageDays,
  replays_days: config.retentionReplaysDays,
  workflows_days: config.retentionWorkflowsDays,
})

/**
 * Days below which a field does not go, and whether its things stay as long as executions do, whose views show them. A budget
 * that is set today counts its month from the first day of it, so the calls of a month are always there.
 */
const bounds: { [F in RetentionField]?: { least: number; withExecutions: true } } = {
  model_usage_days: { least: 32, withExecutions: true },
  workflows_days: { least: 0, withExecutions: true },
}

function daysInEffect(field: RetentionField, given: Record<RetentionField, number>): number {
  const bound = bounds[field]
  const own = given[field]
  if (!bound) return own
  const { executions_days } = given
  return own === 0 || executions_days === 0 ? 0 : Math.max(own, executions_days, bound.least)
}

export async function getRetention(ctx: Context): Promise<Retention> {
  const { db, actor } = ctx
  const row = await db
    .selectFrom('retention_policies')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .executeTakeFirst()
  const figures = await db
    .selectFrom('retention_figures')
    .selectAll()
    .where('workspace_id', '=', actor.workspaceId)
    .execute()
  const defaults = defaultDays(ctx.config)
  const figureOf = (kind: RetentionKind) => {
    const figure = figures.find((each) => each.kind === kind)
    return { count: Number(figure?.deleted ?? 0), last_deleted_at: figure?.last_deleted_at.toISOString() ?? null }
  }
  const each = <T>(valueOf: (field: RetentionField) => T) =>
    Object.fromEntries(retentionFields.map((field) => [field, valueOf(field)])) as Record<RetentionField, T>
  const given = each((field) => row?.[field] ?? defaults[field])
  return {
    days: each((field) => daysInEffect(field, given)),
    settings: each((field) => row?.[field] ?? null),
    deleted: {
      executions: figureOf('executions'),
      schedule_slots: figureOf('schedule_slots'),
      webhook_logs: figureOf('webhook_logs'),
      model_usage: figureOf('model_usage'),
      replays: figureOf('replays'),
      workflows: figureOf('workflows'),
    },
  }
}

/** What is not given stays; null goes back to the default. */
export async function updateRetention(
  ctx: Context,
  changes: { [K in RetentionField]?: number | null | undefined },
  ifMatch: string | null,
): Promise<Retention> {
  return ctx.db.transaction().execute(async (tx) => {
    // Also where there is no row yet, two changes take turns.
    const { deleted_at } = await lockCurrent(tx, ctx)
    if (deleted_at) throw new AppError('conflict', 'The workspace is to be deleted. Restore it first.')
    const current = await getRetention({ ...ctx, db: tx })
    requireMatch(ifMatch, retentionTag(current))
    const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined))
    // The ledger was complete from here on under the retention that ends now; a longer one brings nothing back.
    const until = current.days.schedule_slots_days
    const begins = sql<Date | null>`greatest(
      (select ledger_begins from retention_policies where workspace_id = ${ctx.actor.workspaceId}),
      case when ${until}::integer > 0 then app_now() - ${until}::integer * interval '1 day' end)`
    const values = { ...current.settings, ...given, ledger_begins: begins }
    await tx
      .insertInto('retention_policies')
      .values({ workspace_id: ctx.actor.workspaceId, ...values })
      .onConflict((conflict) => conflict.column('workspace_id').doUpdateSet(values))
      .execute()
    const changed = await getRetention({ ...ctx, db: tx })
    await recordAudit(tx, ctx, {
      action: 'workspace.retention_updated',
      target: { type: 'workspace', id: ctx.actor.workspaceId },
      ...changesOf(current.settings, changed.settings),
    })
    return changed
  })
}

/** Defaults and figures change by themselves. */
export const retentionTag = ({ settings, ...rest }: Retention): string => entityTag(settings, rest)

async function daysOf(ctx: Context, field: RetentionField): Promise<number> {
  const row = await ctx.db
    .selectFrom('retention_policies')
    .select(field)
    .where('workspace_id', '=', ctx.actor.workspaceId)
    .executeTakeFirst()
  return row?.[field] ?? defaultDays(ctx.config)[field]
}

export const filesDaysOf = (ctx: Context): Promise<number> => daysOf(ctx, 'files_days')

/** Of a row `p` of `retention_policies` that may be absent; null where things are kept for ever. As `daysInEffect` has it. */
export function effectiveDays(field: RetentionField, config: Config): RawBuilder<number | null> {
  const defaults = defaultDays(config)
  const given = (each: RetentionField) =>
    sql<number | null>`nullif(coalesce(${sql.ref(`p.${each}`)}, ${defaults[each]}::integer), 0)`
  const bound = bounds[field]
  if (!bound) return given(field)
  const [own, runs] = [given(field), given('executions_days')]
  // `greatest` alone would pass over what is for ever.
  return sql`case when ${own} is not null and ${runs} is not null then greatest(${own}, ${runs}, ${bound.least}::integer) end`
}
