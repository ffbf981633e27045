import { expect, test } from 'vitest'
import { databaseForTest } from '../support/database.ts'
import { folderForTest } from '../support/folder.ts'
import { startProcess } from '../support/process.ts'

interface Measured {
  grownBytes: number
  handed: number
  pages: number
  pagesRead: number
  inOrder: boolean
  isWhole: boolean
}

/** Two loops over so many items of 2 KB in a process of its own, the second one finished by another engine. */
async function loopOver(items: number, url: string): Promise<Measured> {
  const script = 'test/postgres/support/long-loop.ts'
  const loop = startProcess(process.execPath, ['--expose-gc', script, String(items), await folderForTest()], {
    DATABASE_URL: url,
  })
  if ((await loop.ended) !== 0) throw new Error(loop.stderr())
  return JSON.parse(loop.stdout()) as Measured
}

test('ten thousand items take no more memory than a thousand, and who takes over in the middle reads the rest alone', async () => {
  const { url } = await databaseForTest()
  const short = await loopOver(1_000, url!)
  const long = await loopOver(10_000, url!)
  for (const measured of [short, long]) expect(measured).toMatchObject({ inOrder: true, isWhole: true })
  // 20 MB go in and come out; a page is half a megabyte of text, and few are under way at a time.
  expect(long.grownBytes).toBeLessThan(1.5 * short.grownBytes + 20_000_000)
  expect(long.handed).toBeGreaterThanOrEqual(5_000)
  expect(long.handed).toBeLessThan(10_000)
  const pagesLeft = Math.ceil(long.pages * (1 - long.handed / 10_000)) + 1
  expect(long.pagesRead).toBeLessThanOrEqual(pagesLeft)
}, 60_000)
