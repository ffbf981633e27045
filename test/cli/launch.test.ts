import { appendFileSync, cpSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { folderForTest } from '../support/folder.ts'
import { repository, runtimes, startProcess } from '../support/process.ts'

/** The sources alone, as a clone of their own. */
async function clone(): Promise<string> {
  const folder = await folderForTest()
  for (const part of ['src', 'clients/typescript/src', 'package.json', 'package-lock.json', 'openapi.json'])
    cpSync(join(repository, part), join(folder, part), { recursive: true })
  symlinkSync(join(repository, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

async function launch(folder: string) {
  const run = startProcess(runtimes.node, [join(folder, 'src/cli/launch.js'), 'dist/app/config.js'])
  return { code: await run.ended, stdout: run.stdout(), stderr: run.stderr() }
}

test('what is started was built from the sources as they are', { timeout: 120_000 }, async () => {
  const folder = await clone()
  const first = await launch(folder)
  expect(first).toMatchObject({ code: 0, stdout: expect.stringContaining('DATA_DIR') })
  expect(first.stderr).toContain('Built from changed sources')
  expect((await launch(folder)).stderr).not.toContain('Built')

  appendFileSync(join(folder, 'src/cli/config.ts'), `console.log('this line is new')\n`)
  expect((await launch(folder)).stdout).toContain('this line is new')

  // What cannot be built does not run as it was before.
  writeFileSync(join(folder, 'src/cli/config.ts'), `console.log('broken'\n`)
  const broken = await launch(folder)
  expect(broken.code).toBe(1)
  expect(broken.stdout).toBe('')
  expect(broken.stderr).toContain('src/cli/config.ts')
})
