import type { Runtime } from '../context.ts'
import { DatabaseAway } from '../lib/database-away.ts'
import { AppError } from '../lib/errors.ts'
import { pendingSchemaChanges } from '../services/health.service.ts'

/**
 * Old code on a new schema is fine, new code on an old one is not: until the database has been migrated, routes that need
 * it answer 503 and say what to do. Once seen in order it is never asked again.
 */
export function createSchemaGuard(): (runtime: Runtime) => void | Promise<void> {
  let isCurrent = false
  return (runtime) => {
    if (isCurrent) return
    return pendingSchemaChanges(runtime).then(
      (pending) => {
        if (pending.length > 0) {
          throw new AppError('schema-behind', `The database lacks ${pending.join(', ')}. Run: npm run migrate`)
        }
        isCurrent = true
      },
      (error: unknown) => {
        // An embedded database that broke has no word of its own for that.
        throw error instanceof AppError ? error : new DatabaseAway(error)
      },
    )
  }
}
