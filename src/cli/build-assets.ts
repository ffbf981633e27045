import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { assetSources, originalOf } from '../runtime/node/assets.ts'

// Copies the files that pages need into the folder that a Worker serves from its ASSETS binding; wrangler runs this before it builds.
const folder = join(import.meta.dirname, '../../public')
await mkdir(folder, { recursive: true })
for (const [name, { from }] of Object.entries(assetSources)) {
  await copyFile(originalOf(from), join(folder, name))
  process.stdout.write(`public/${name}\n`)
}
