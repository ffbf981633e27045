import { existsSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

export const adminKeyPath = (dataDir: string) => join(dataDir, 'admin-api-key')

export const hasAdminKeyFile = (dataDir: string) => existsSync(adminKeyPath(dataDir))

/** Only its owner may read it. Whole or not at all: it is the one copy of the key. */
export async function writeAdminKey(dataDir: string, key: string): Promise<void> {
  const path = adminKeyPath(dataDir)
  await writeFile(`${path}.new`, `${key}\n`, { mode: 0o600, flush: true })
  await rename(`${path}.new`, path)
}
