import { foundation } from './0001-foundation.ts'
import { runs } from './0002-runs.ts'
import { schedules } from './0003-schedules.ts'
import type { Migration } from './migration.ts'

export const migrations: readonly Migration[] = [foundation, runs, schedules]
