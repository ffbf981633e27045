// Opens PGlite on the folder of the first argument and prints how long that took, until its first answer: for bench/start.ts.
import { enableCompileCache } from 'node:module'
enableCompileCache?.()
const startedMs = performance.now()
const { PGlite } = await import('@electric-sql/pglite')
const pglite = await PGlite.create(process.argv[2])
await pglite.query('select 1')
console.log(performance.now() - startedMs)
await pglite.close()
process.exit(0)
