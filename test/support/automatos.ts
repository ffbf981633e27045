import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { prepareDatabase } from '../../src/runtime/node/prepared-database.ts'
import { folderForTest, type AtEnd } from './folder.ts'
import { runtimes, startProcess } from './process.ts'

export const program = [runtimes.node, 'src/cli/launch.js', 'src/cli/automatos.ts'] as const

export interface Ran {
  code: number | NodeJS.Signals
  stdout: string
  stderr: string
}

/** Runs the command line to its end, with exactly this environment. */
export async function runAutomatos(args: readonly string[], env: Record<string, string>): Promise<Ran> {
  const [node, ...rest] = program
  const run = startProcess(node, [...rest, ...args], env)
  const code = await run.ended
  return { code, stdout: run.stdout(), stderr: run.stderr() }
}

/** A server process on an empty folder, for the tests of one file. */
export async function startTestServer(atEnd: AtEnd) {
  await prepareDatabase()
  const dataDir = join(await folderForTest(atEnd), 'data')
  const server = startProcess(
    runtimes.node,
    ['src/cli/launch.js', 'src/node-server.ts'],
    { PORT: '0', DATA_DIR: dataDir, LOG_LEVEL: 'error', RATE_LIMIT_AUTHENTICATED: '6000/minute' },
    atEnd,
  )
  const url = (await server.saying(/API +(http:\S+)/))[1]!
  return { url, dataDir, key: (await readFile(join(dataDir, 'admin-api-key'), 'utf8')).trim() }
}
