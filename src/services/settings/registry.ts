import type { Config } from '../../config.ts'
import { settings, type Settings } from '../../config/settings.ts'
import { AppError } from '../../lib/errors.ts'

/**
 * What the database may say in place of the environment: each takes effect in a running process. Secrets, addresses and
 * whatever a process is built with at its start stay with the environment.
 */
const overridable = {
  LOG_LEVEL: { field: 'logLevel', choices: ['debug', 'info', 'warn', 'error'] },
  RATE_LIMIT_DEFAULT: { field: 'rateLimitDefault' },
  RATE_LIMIT_AUTHENTICATED: { field: 'rateLimitAuthenticated' },
  LLM_PROVIDER: {
    field: 'llmProvider',
    choices: ['openai', 'anthropic', 'google', 'openrouter', 'openai-compatible', 'offline'],
  },
  LLM_MODEL: { field: 'llmModel', maxLength: 200 },
  RETENTION_EXECUTIONS_DAYS: { field: 'retentionExecutionsDays', range: [0, 36_500] },
  RETENTION_SCHEDULE_SLOTS_DAYS: { field: 'retentionScheduleSlotsDays', range: [0, 36_500] },
  RETENTION_WEBHOOK_LOGS_DAYS: { field: 'retentionWebhookLogsDays', range: [0, 36_500] },
  RETENTION_WORKFLOWS_DAYS: { field: 'retentionWorkflowsDays', range: [0, 36_500] },
  RETENTION_REPLAYS_DAYS: { field: 'retentionReplaysDays', range: [0, 36_500] },
  RETENTION_MODEL_USAGE_DAYS: { field: 'retentionModelUsageDays', range: [0, 36_500] },
  RETENTION_FILES_DAYS: { field: 'retentionFilesDays', range: [0, 36_500] },
  RETENTION_AUDIT_DAYS: { field: 'retentionAuditDays', range: [0, 36_500] },
} as const satisfies { [K in keyof Settings]?: About }

interface About {
  field: keyof Config
  choices?: readonly string[]
  range?: readonly [number, number]
  maxLength?: number
}

export type SettingKey = keyof typeof overridable
export const settingKeys = Object.keys(overridable) as SettingKey[]
export const isSettingKey = (key: string): key is SettingKey => Object.hasOwn(overridable, key)
export const aboutOf = (key: SettingKey): About => overridable[key]

/** What a value becomes in the configuration; undefined for one that the setting does not take. */
export function readValue(key: SettingKey, value: unknown): unknown {
  const { range, maxLength = 100 } = aboutOf(key)
  if (typeof value !== (range ? 'number' : 'string') || String(value).length > maxLength) return undefined
  const text = String(value).trim()
  if (text === '') return undefined
  const result = settings[key].type.schema.safeParse(text)
  return result.success ? result.data : undefined
}

export function requireValue(key: SettingKey, value: unknown): void {
  if (readValue(key, value) !== undefined) return
  const detail = `must be ${settings[key].type.expects}`
  throw new AppError('invalid', `${key} ${detail}.`, { errors: [{ pointer: '/value', detail }] })
}

/** Of the environment's text, as JSON has it. */
export const toValue = (key: SettingKey, text: string): string | number => (aboutOf(key).range ? Number(text) : text)
