import { readEnvironment } from './runtime/node/environment.ts'
import { beginPgliteFiles } from './runtime/node/pglite-files.ts'

// What takes longest begins first: the embedded database is read and compiled while all else is loaded.
if (namesNoServer()) beginPgliteFiles()
await import('./node-process.ts')

function namesNoServer(): boolean {
  try {
    return !readEnvironment()['DATABASE_URL']
  } catch {
    // It is read once more there, where faults of a start are told.
    return false
  }
}
