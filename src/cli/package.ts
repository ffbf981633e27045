import { execFileSync } from 'node:child_process'
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { packageRoot } from '../runtime/node/package-root.ts'
import { preparedDatabasePath } from '../runtime/node/prepared-database.ts'

// `npm run package`: dist/automatos-<version>.tgz, from what `npm run build` has made. Its manifest names only what is
// not in the bundle; the repository's own names what building and testing need, and for Linux a Node.
const dist = join(packageRoot, 'dist')
const folder = join(dist, 'package')

interface Manifest {
  version: string
  description: string
  license: string
  engines: Record<string, string>
  dependencies: Record<string, string>
}
const { version, description, license, engines, dependencies } = JSON.parse(
  await readFile(join(packageRoot, 'package.json'), 'utf8'),
) as Manifest
const pglite = '@electric-sql/pglite'
const manifest = {
  name: 'automatos',
  version,
  description,
  license,
  type: 'module',
  engines,
  bin: { automatos: 'dist/bin.js' },
  exports: { './package.json': './package.json' },
  files: ['dist'],
  dependencies: { [pglite]: dependencies[pglite] },
}

await rm(folder, { recursive: true, force: true })
await mkdir(join(folder, 'dist'), { recursive: true })
for (const name of ['README.md', 'LICENSE']) await cp(join(packageRoot, name), join(folder, name))
const parts = ['bin.js', 'node-version.js', 'THIRD-PARTY-NOTICES.txt', 'app', basename(preparedDatabasePath())]
for (const name of parts) await cp(join(dist, name), join(folder, 'dist', name), { recursive: true })
await rm(join(folder, 'dist/app/stamp'))
await writeFile(join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
for (const name of await readdir(dist)) if (name.endsWith('.tgz')) await rm(join(dist, name))
execFileSync('npm', ['pack', folder, '--pack-destination', dist, '--silent'], { stdio: 'inherit' })
