// Says whether dist/ was built from the sources as they are. Plain JavaScript, so that a start needs no compiler to ask.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../../', import.meta.url))
export const stampFile = root + 'dist/app/stamp'

/** What the bundle is made of: path, size and time of change of each file. */
export function currentStamp() {
  const sources = readdirSync(root + 'src', { recursive: true }).map((name) => 'src/' + name)
  const generated = readdirSync(root + 'clients/typescript/src', { recursive: true }).map(
    (name) => 'clients/typescript/src/' + name,
  )
  return [...sources, ...generated, 'package.json', 'package-lock.json', 'openapi.json']
    .map((name) => [name, statSync(root + name)])
    .filter(([, stat]) => stat.isFile())
    .map(([name, stat]) => `${name} ${stat.size} ${stat.mtimeMs}`)
    .sort()
    .join('\n')
}

export const isBuilt = () => existsSync(stampFile) && readFileSync(stampFile, 'utf8') === currentStamp()
