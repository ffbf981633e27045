import type { Runtime } from '../context.ts'
import { pendingMigrations } from '../db/migrate.ts'

/** Migrations that this code needs and the database lacks. */
export const pendingSchemaChanges = ({ db }: Pick<Runtime, 'db'>): Promise<string[]> => pendingMigrations(db)
