import { constants } from 'node:fs'
import { access, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Blobs, ComponentHealth } from '../../context.ts'
import { checkBlobKey } from '../blob-keys.ts'

export interface FolderBlobs extends Blobs {
  probe(): Promise<ComponentHealth>
}

const isMissing = (error: unknown) => {
  const code = (error as NodeJS.ErrnoException).code
  return code === 'ENOENT' || code === 'ENOTDIR'
}

/** One file a blob. A reader sees the old bytes or the new ones, never a part, also after a crash in mid-write. */
export async function openFolderBlobs(folder: string): Promise<FolderBlobs> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const pathOf = (key: string) => join(folder, ...checkBlobKey(key).split('/'))

  return {
    async put(key, bytes) {
      const path = pathOf(key)
      // The dot keeps a temporary file out of the key space.
      const temporary = join(dirname(path), `.${crypto.randomUUID()}.tmp`)
      await mkdir(dirname(path), { recursive: true, mode: 0o700 })
      try {
        const file = await open(temporary, 'wx', 0o600)
        try {
          await file.writeFile(bytes)
          // Without it a power cut may keep the rename and lose the bytes.
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(temporary, path)
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    },
    async get(key) {
      try {
        return new Uint8Array(await readFile(pathOf(key)))
      } catch (error) {
        if (isMissing(error)) return null
        throw error
      }
    },
    async delete(key) {
      const path = pathOf(key)
      try {
        await rm(path)
      } catch (error) {
        if (!isMissing(error)) throw error
      }
    },
    async probe() {
      try {
        await access(folder, constants.R_OK | constants.W_OK)
        return { status: 'healthy' }
      } catch {
        return { status: 'unhealthy', detail: 'The blob folder in DATA_DIR cannot be written.' }
      }
    },
  }
}
