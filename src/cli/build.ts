import { chmod, copyFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { preparedDatabasePath, prepareDatabase } from '../runtime/node/prepared-database.ts'
import { packageRoot } from '../runtime/node/package-root.ts'
import { bundle } from './build/bundle.ts'
import { thirdPartyNotices } from './build/notices.ts'

/** `npm run build`: what the package is made of, in dist/. Part of `npm ci` too. */
const dist = join(packageRoot, 'dist')
await rm(join(dist, 'app'), { recursive: true, force: true })
const metafile = await bundle()
await writeFile(join(dist, 'THIRD-PARTY-NOTICES.txt'), thirdPartyNotices(metafile))
for (const name of ['bin.js', 'node-version.js']) await copyFile(join(import.meta.dirname, name), join(dist, name))
await chmod(join(dist, 'bin.js'), 0o755)
console.log('The server and the commands were built in dist/app')

try {
  const made = await prepareDatabase()
  console.log(`The embedded database ${made ? 'was' : 'is already'} prepared in ${preparedDatabasePath()}`)
} catch (error) {
  // It costs the first start a few seconds, which is no reason to fail an installation.
  console.warn(`The embedded database was not prepared; the first start will create it: ${(error as Error).message}`)
}
