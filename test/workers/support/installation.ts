import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export interface TestInstallation {
  /** Of a database that is migrated, seeded and otherwise empty. */
  databaseUrl: string
  label: string
  adminKey: string
  keyRing: string
  /** Goes when it is closed. */
  folder: string
  close(): Promise<void>
}

export async function openTestInstallation(): Promise<TestInstallation> {
  const program = fileURLToPath(new URL('./installation.program.ts', import.meta.url))
  const child = spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] })
  const ended = once(child, 'exit')
  const lines = createInterface(child.stdout)
  const [line] = (await Promise.race([
    once(lines, 'line'),
    ended.then(() => Promise.reject(new Error('No database for the Workers tests: see above.'))),
  ])) as [string]
  return {
    ...(JSON.parse(line) as Omit<TestInstallation, 'close'>),
    async close() {
      child.stdin.end()
      await ended
    },
  }
}
