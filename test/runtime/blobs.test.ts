import { mkdir, readdir, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { createMemoryBlobs } from '../../src/runtime/memory-blobs.ts'
import { openFolderBlobs } from '../../src/runtime/node/folder-blobs.ts'
import { folderForTest } from '../support/folder.ts'
import { describeBlobKeys, describeBlobs } from './blobs.suite.ts'

const onFolder = async () => openFolderBlobs(join(await folderForTest(), 'blobs'))

describe('port:blobs adapter:folder', () => {
  describeBlobs(onFolder)
  describeBlobKeys(onFolder)

  test('no temporary file stays behind, and only the owner may read', async () => {
    const folder = await folderForTest()
    const blobs = await openFolderBlobs(folder)
    await blobs.put('a/b', new Uint8Array([1]))
    expect(await readdir(join(folder, 'a'))).toEqual(['b'])
    expect((await stat(join(folder, 'a', 'b'))).mode & 0o777).toBe(0o600)
  })

  test('a put that fails leaves the old value and no temporary file', async () => {
    const folder = await folderForTest()
    const blobs = await openFolderBlobs(folder)
    await mkdir(join(folder, 'taken'))
    await writeFile(join(folder, 'taken', 'inside'), 'x')
    await expect(blobs.put('taken', new Uint8Array([1]))).rejects.toThrow()
    expect(await readdir(folder)).toEqual(['taken'])
  })

  test('its probe says whether the folder can be written', async () => {
    const blobs = await onFolder()
    expect(await blobs.probe()).toEqual({ status: 'healthy' })
  })
})

describe('port:blobs adapter:memory', () => {
  describeBlobs(createMemoryBlobs)
  describeBlobKeys(createMemoryBlobs)
})
