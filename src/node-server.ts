import { readEnvironment } from './runtime/node/environment.ts'
import { beginPgliteFiles } from './runtime/node/pglite-files.ts'

// What takes longest begins first: the embedded database is read and compiled while all else is loaded.
if (!readEnvironment()['DATABASE_URL']) beginPgliteFiles()
await import('./node-process.ts')
