import { open } from 'node:fs/promises'

/** On the disk, whatever happens to the power; of a folder it is the names in it. */
export async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
