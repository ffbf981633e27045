import { copyFile, mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { assetSources } from '../runtime/node/assets.ts'

// Copies the files that pages need into the folder that a Worker serves from its ASSETS binding; wrangler runs this before it builds.
const folder = join(import.meta.dirname, '../../public')
await mkdir(folder, { recursive: true })
for (const [name, { specifier }] of Object.entries(assetSources)) {
  await copyFile(fileURLToPath(import.meta.resolve(specifier)), join(folder, name))
  process.stdout.write(`public/${name}\n`)
}
