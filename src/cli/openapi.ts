import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createApiDocument } from '../app.ts'
import { parseConfig } from '../config.ts'

// Writes the complete OpenAPI document: `npm run openapi`. With --check it only says whether the committed one is current.
const file = join(import.meta.dirname, '../../openapi.json')
// An environment of its own: the committed document must not depend on who writes it.
const text = `${JSON.stringify(createApiDocument(parseConfig({})), null, 2)}\n`

if (process.argv.includes('--check')) {
  const committed = await readFile(file, 'utf8').catch(() => '')
  if (committed !== text) {
    process.stderr.write('openapi.json is out of date. Run: npm run openapi\n')
    process.exitCode = 1
  }
} else {
  await writeFile(file, text)
  process.stdout.write('openapi.json written\n')
}
