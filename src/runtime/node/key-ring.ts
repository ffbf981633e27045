import { randomBytes } from 'node:crypto'
import { chmod, link, mkdir, readFile, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface StoredKeyRing {
  keyRing: string
  file: string
  /** True on the start that made it: the caller warns that the file must be backed up. */
  created: boolean
}

/**
 * The key ring of an installation without CREDENTIAL_ENCRYPTION_KEY: `<dataDir>/keys/credentials.ring`, mode 0600.
 * Whoever loses the file loses the stored credentials.
 */
export async function loadOrCreateKeyRing(dataDir: string): Promise<StoredKeyRing> {
  const folder = join(dataDir, 'keys')
  const file = join(folder, 'credentials.ring')
  const found = await read(file)
  if (found !== null) return { keyRing: found, file, created: false }

  await mkdir(folder, { recursive: true, mode: 0o700 })
  const draft = join(folder, `.credentials.${randomBytes(6).toString('hex')}`)
  await writeFile(draft, `k1:${randomBytes(32).toString('base64')}\n`, { mode: 0o600, flag: 'wx', flush: true })
  await chmod(draft, 0o600)
  try {
    // A hard link appears whole or not at all, and never replaces a ring that another process made meanwhile.
    await link(draft, file)
    return { keyRing: (await read(file))!, file, created: true }
  } catch (error) {
    if ((error as { code?: string }).code !== 'EEXIST') throw error
    return { keyRing: (await read(file))!, file, created: false }
  } finally {
    await unlink(draft)
  }
}

async function read(file: string): Promise<string | null> {
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return null
    throw error
  }
}
