import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync } from 'node:fs'
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import { freePort, pause } from './cluster.ts'
import type { OwnServer } from './own-server.ts'

const run = promisify(execFile)
const installations = '/usr/lib/postgresql'

/** Where PostgreSQL's own programs are; null where they are not installed. */
export function findPostgres(): string | null {
  if (!existsSync(installations)) return null
  const versions = readdirSync(installations).sort((a, b) => Number(b) - Number(a))
  return (
    versions.map((version) => join(installations, version, 'bin')).find((bin) => existsSync(`${bin}/initdb`)) ?? null
  )
}

/** A PostgreSQL of a test's own, to stop and start at will. Only a machine that fails would lose what it does not sync. */
export async function createOwnPostgres(bin: string, { fsync = false } = {}): Promise<OwnServer> {
  const folder = await mkdtemp(join(tmpdir(), 'automatos-postgres-'))
  const data = join(folder, 'data')
  // PostgreSQL refuses to run as root.
  const asRoot = process.getuid?.() === 0
  const prefix = asRoot ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--init-groups'] : []
  if (asRoot) {
    await chmod(folder, 0o755)
    const [uid, gid] = await Promise.all([run('id', ['-u', 'postgres']), run('id', ['-g', 'postgres'])])
    await chown(folder, Number(uid.stdout), Number(gid.stdout))
  }
  const command = (program: string, ...args: string[]) => {
    const [first, ...rest] = [...prefix, join(bin, program), ...args]
    return [first!, rest] as const
  }
  await run(...command('initdb', '-D', data, '-U', 'postgres', '-A', 'trust', '--no-sync', '--locale=C', '-E', 'UTF8'))

  const port = await freePort()
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  let server: ChildProcess | null = null

  const answers = async () => {
    const client = postgres(url, { max: 1, onnotice: () => {} })
    try {
      await client`select 1`
      return true
    } catch {
      return false
    } finally {
      await client.end({ timeout: 1 })
    }
  }
  const start = async () => {
    const settings = ['listen_addresses=127.0.0.1', `fsync=${fsync ? 'on' : 'off'}`, 'max_connections=60']
    const options = settings.flatMap((setting) => ['-c', setting])
    const [program, args] = command('postgres', '-D', data, '-p', String(port), '-k', folder, ...options)
    server = spawn(program, args, { stdio: 'ignore' })
    while (!(await answers())) {
      if (server.exitCode !== null) throw new Error('The PostgreSQL of the test did not start.')
      await pause(50)
    }
  }
  const stop = async () => {
    if (!server || server.exitCode !== null || server.signalCode !== null) return
    const exited = once(server, 'exit')
    server.kill('SIGQUIT')
    await exited
  }
  await start()
  return {
    url,
    start,
    stop,
    async remove() {
      await stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
