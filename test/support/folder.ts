import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** Where a clean-up is left: `onTestFinished`, or a list of the file's own for what its tests share. */
export type AtEnd = (end: () => Promise<void>) => void

/** An empty folder that goes away with the test, or with what `atEnd` names. */
export async function folderForTest(atEnd: AtEnd = onTestFinished): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'automatos-'))
  atEnd(() => rm(folder, { recursive: true, force: true }))
  return folder
}
