import { setting, type Category } from './setting.ts'
import * as t from './value-types.ts'

const days = (category: Category, days: number, description: string) =>
  setting(t.integer(0, 36_500), { category, default: String(days), description })

/** How long things are kept where their workspace says nothing else. */
export const retentionSettings = {
  RETENTION_EXECUTIONS_DAYS: days(
    'Engine',
    90,
    'Days that a run is kept after its end, with all that belongs to it, where its workspace says nothing else; 0 keeps it for ever.',
  ),
  RETENTION_SCHEDULE_SLOTS_DAYS: days(
    'Engine',
    90,
    'Days that the ledger and the alerts of schedules are kept where the workspace says nothing else; 0 keeps them for ever.',
  ),
  RETENTION_WEBHOOK_LOGS_DAYS: days(
    'Engine',
    30,
    'Days that the logs of webhooks in both directions are kept where the workspace says nothing else; 0 keeps them for ever.',
  ),
  RETENTION_WORKFLOWS_DAYS: days(
    'Engine',
    400,
    'Days that a workflow is kept after its end, with its plans, and no shorter than its runs, where its workspace says nothing else; 0 keeps it for ever.',
  ),
  RETENTION_REPLAYS_DAYS: days(
    'Engine',
    90,
    'Days that a comparison is kept after its end, with its reports, where its workspace says nothing else; 0 keeps it for ever.',
  ),
  RETENTION_MODEL_USAGE_DAYS: days(
    'Engine',
    400,
    'Days that what each model call has used and cost is kept, at least 32 and no shorter than runs, where the workspace says nothing else; 0 keeps it for ever.',
  ),
  RETENTION_FILES_DAYS: days(
    'Files',
    0,
    'Days that an uploaded file is kept where neither it nor its workspace says otherwise; 0 keeps it for ever.',
  ),
  WORKSPACE_GRACE_DAYS: days(
    'Security',
    30,
    'Days in which a deleted workspace can be restored before it is purged with all that belongs to it.',
  ),
  RETENTION_AUDIT_DAYS: days(
    'Security',
    365,
    'Days that the audit log is kept where the workspace says nothing else; 0 keeps it for ever. What is left still verifies.',
  ),
}
