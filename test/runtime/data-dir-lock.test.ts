import { chmod, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { openDataDir } from '../../src/runtime/node/data-dir.ts'
import { lockDataDir } from '../../src/runtime/node/data-dir-lock.ts'
import { folderForTest } from '../support/folder.ts'
import { runtimes, startProcess, type RuntimeName } from '../support/process.ts'

const hold = (runtime: RuntimeName, folder: string) =>
  startProcess(runtimes[runtime], ['--expose-gc', 'test/support/hold-data-dir.ts', folder])

const names = ['node', 'bun'] as const
const pairs = names.flatMap((holder) => names.map((other) => [holder, other] as const))

describe.each(pairs)('held by a process on %s', (holderRuntime, otherRuntime) => {
  test(`one on ${otherRuntime} is refused, and told who holds the folder and what to do`, async () => {
    const folder = await folderForTest()
    const holder = hold(holderRuntime, folder)
    await holder.saying(/locked/)
    const other = hold(otherRuntime, folder)
    expect(await other.ended).not.toBe(0)
    expect(other.stderr()).toMatch(
      new RegExp(`${folder} is in use by process ${holder.pid} on .*Stop that process, or .*DATA_DIR.*DATABASE_URL`),
    )
    expect(holder.child.exitCode).toBeNull()
  })

  test(`once killed, it leaves the folder free at once for one on ${otherRuntime}`, async () => {
    const folder = await folderForTest()
    const holder = hold(holderRuntime, folder)
    await holder.saying(/locked/)
    holder.child.kill('SIGKILL')
    await holder.ended
    expect((await readdir(folder)).toSorted()).toEqual(['lock', 'lock-owner.json'])
    await hold(otherRuntime, folder).saying(/locked/)
  })
})

test.each(names)('a process on %s is refused while this one holds the lock, and not after', async (runtime) => {
  const folder = await folderForTest()
  const lock = lockDataDir(folder)
  const refused = hold(runtime, folder)
  expect(await refused.ended).not.toBe(0)
  expect(refused.stderr()).toContain(`in use by process ${process.pid}`)
  lock.release()
  await hold(runtime, folder).saying(/locked/)
})

test('a lock that was released ends no later one when it is released again', async () => {
  const folder = await folderForTest()
  const first = lockDataDir(folder)
  first.release()
  const second = lockDataDir(folder)
  first.release()
  expect(() => lockDataDir(folder)).toThrow(`in use by process ${process.pid}`)
  second.release()
})

test('one process cannot take it twice either', async () => {
  const folder = await folderForTest()
  const lock = lockDataDir(folder)
  expect(() => lockDataDir(folder)).toThrow(/in use by process/)
  lock.release()
  lockDataDir(folder).release()
})

test('a DATA_DIR below a file, or that is a file, is refused with its path and what to do', async () => {
  const folder = await folderForTest()
  lockDataDir(folder).release()
  for (const path of [join(folder, 'lock'), join(folder, 'lock', 'below')]) {
    expect(() => openDataDir(path)).toThrow(/cannot be used \(it, or a part of its path, is a file\).*set DATA_DIR/)
  }
})

// Root may write anywhere.
test.skipIf(process.getuid?.() === 0)('a DATA_DIR that may not be written is refused', async () => {
  const folder = await folderForTest()
  await chmod(folder, 0o500)
  expect(() => openDataDir(folder)).toThrow(/cannot be used \(EACCES\)/)
})
