import { sql, type Kysely } from 'kysely'
import type { ServiceContext } from '../../context.ts'
import type { Database } from '../../db/database.ts'
import { jsonb } from '../../db/json.ts'
import { acrossWorkspaces } from '../../db/scope.ts'
import { settings } from '../../config/settings.ts'
import { AppError } from '../../lib/errors.ts'
import { entityTag, requireMatch } from '../../lib/etag.ts'
import type { Json } from '../../lib/json.ts'
import type { Page, PageRequest } from '../../lib/pagination.ts'
import { listAuditLogs } from '../audit/read.ts'
import { recordAudit } from '../audit/record.ts'
import { refreshSettings } from './refresh.ts'
import { aboutOf, isSettingKey, requireValue, settingKeys, toValue, type SettingKey } from './registry.ts'

type Value = string | number | null

export interface SystemSetting {
  key: SettingKey
  category: string
  description: string
  type: 'string' | 'integer'
  expects: string
  minimum: number | null
  maximum: number | null
  choices: readonly string[] | null
  /** Who may change it. */
  permission: 'system:manage'
  /** In effect. */
  value: Value
  source: 'database' | 'environment' | 'default' | 'computed' | 'unset'
  database_value: Value
  environment_value: Value
  default_value: Value
  updated_at: string | null
  updated_by: string | null
}

type Context = Pick<ServiceContext, 'db' | 'config'>
interface Stored {
  key: string
  value: Json
  updated_at: Date
  updated_by: string | null
}

export async function listSettings(ctx: Context): Promise<SystemSetting[]> {
  const rows = await readRows(ctx.db)
  return settingKeys.map((key) => toSetting(ctx, key, rows.get(key)))
}

export async function getSetting(ctx: Context, key: string): Promise<SystemSetting> {
  const known = knownKey(key)
  return toSetting(ctx, known, (await readRows(ctx.db)).get(known))
}

/** Counts in this process before it returns, in the others as soon as the database has told them, or within seconds. */
export const setSetting = (ctx: ServiceContext, key: string, value: unknown, ifMatch: string | null) =>
  change(ctx, key, value, ifMatch)

/** Back to what the environment says. */
export const resetSetting = (ctx: ServiceContext, key: string, ifMatch: string | null) =>
  change(ctx, key, undefined, ifMatch)

async function change(
  ctx: ServiceContext,
  name: string,
  value: unknown,
  ifMatch: string | null,
): Promise<SystemSetting> {
  const key = knownKey(name)
  if (value !== undefined) requireValue(key, value)
  const changed = await acrossWorkspaces(ctx.db, (db) =>
    db.transaction().execute(async (tx) => {
      // Two changes take turns, also of a setting that has no row yet.
      await sql`select pg_advisory_xact_lock(hashtext('system_settings'))`.execute(tx)
      const row = (await readRows(tx)).get(key)
      const current = toSetting(ctx, key, row)
      requireMatch(ifMatch, settingTag(current))
      if (value === undefined) await tx.deleteFrom('system_settings').where('key', '=', key).execute()
      else {
        const values = {
          value: jsonb(value),
          updated_at: sql<Date>`app_now()`,
          updated_by: `${ctx.actor.kind}:${ctx.actor.id}`,
        }
        await tx
          .insertInto('system_settings')
          .values({ key, ...values })
          .onConflict((conflict) => conflict.column('key').doUpdateSet(values))
          .execute()
      }
      const next = toSetting(ctx, key, (await readRows(tx)).get(key))
      if (current.database_value !== next.database_value)
        await recordAudit(tx, ctx, {
          action: value === undefined ? 'system_setting.reset' : 'system_setting.changed',
          target: { type: 'system_setting', id: key },
          before: { value: current.database_value },
          after: { value: next.database_value },
        })
      return next
    }),
  )
  await acrossWorkspaces(ctx.db, (db) => refreshSettings({ ...ctx, db }))
  return changed
}

export interface SettingChange {
  id: string
  changed_at: string
  changed_by: { kind: string; id: string }
  from: Value
  to: Value
  request_id: string | null
}

/** Out of the audit log of the operator's workspace, as long as that is kept. */
export async function listSettingChanges(
  ctx: Pick<ServiceContext, 'db' | 'actor'>,
  { key, ...page }: PageRequest & { key: string },
): Promise<Page<SettingChange>> {
  const target = { target_type: 'system_setting', target_id: knownKey(key) }
  const { items, next_cursor } = await listAuditLogs(ctx, { ...page, ...target })
  const valueOf = (side: Json) => (side as { value?: Value } | null)?.value ?? null
  return {
    items: items.map(({ id, created_at, actor, before, after, request_id }) => ({
      id,
      changed_at: created_at,
      changed_by: actor,
      from: valueOf(before),
      to: valueOf(after),
      request_id,
    })),
    next_cursor,
  }
}

export const settingTag = ({ key, database_value, updated_at, ...rest }: SystemSetting): string =>
  entityTag({ key, database_value, updated_at }, rest)

function knownKey(key: string): SettingKey {
  if (!isSettingKey(key)) throw new AppError('not-found', `There is no system setting ${key.slice(0, 100)}.`)
  return key
}

async function readRows(db: Kysely<Database>): Promise<Map<string, Stored>> {
  const rows = await db.selectFrom('system_settings').selectAll().execute()
  return new Map(rows.map((row) => [row.key, row]))
}

function toSetting({ config }: Context, key: SettingKey, row: Stored | undefined): SystemSetting {
  const about = aboutOf(key)
  const {
    category,
    description,
    type,
    default: fallback,
  } = settings[key] as {
    category: string
    description: string
    type: { expects: string }
    default?: unknown
  }
  const own = config.effective.find(({ variable }) => variable === key)
  const ownValue = own && own.source !== 'unset' ? toValue(key, own.value) : null
  const stored = typeof row?.value === 'string' || typeof row?.value === 'number' ? row.value : null
  return {
    key,
    category,
    description,
    type: about.range ? 'integer' : 'string',
    expects: type.expects,
    minimum: about.range?.[0] ?? null,
    maximum: about.range?.[1] ?? null,
    choices: about.choices ?? null,
    permission: 'system:manage',
    value: stored ?? ownValue,
    source: stored !== null ? 'database' : (own?.source ?? 'unset'),
    database_value: stored,
    environment_value: own?.source === 'environment' ? ownValue : null,
    default_value: typeof fallback === 'string' ? toValue(key, fallback) : null,
    updated_at: row?.updated_at.toISOString() ?? null,
    updated_by: row?.updated_by ?? null,
  }
}
