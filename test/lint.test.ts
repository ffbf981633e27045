import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { folderForTest } from './support/folder.ts'

const root = join(import.meta.dirname, '..')

/** What the linter, with the configuration of the product, says of one file at a place of the source. */
async function lint(path: string, text: string): Promise<string> {
  const folder = await folderForTest()
  copyFileSync(join(root, '.oxlintrc.json'), join(folder, '.oxlintrc.json'))
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), text)
  try {
    execFileSync(join(root, 'node_modules/.bin/oxlint'), ['src'], { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
    return 'clean'
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}

test('a request that does not leave through the guard fails the lint', async () => {
  const bare = 'export const read = () => fetch("https://example.com/")\n'
  for (const path of ['src/services/x.ts', 'src/routes/x.ts', 'src/lib/x.ts', 'src/runtime/x.ts'])
    expect(await lint(path, bare)).toMatch(/no-restricted-globals[\s\S]*egress guard/)
  expect(await lint('src/services/x.ts', 'export const open = () => new WebSocket("wss://a.example/")\n')).toContain(
    'guard',
  )
  expect(await lint('src/runtime/s3-blobs.ts', bare)).toBe('clean')
  const guarded = 'export const read = (egress: (r: Request) => unknown) => egress(new Request("https://a.example/"))\n'
  expect(await lint('src/services/x.ts', guarded)).toBe('clean')
})
