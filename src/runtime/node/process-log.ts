import type { Config } from '../../config.ts'
import type { Log } from '../../context.ts'
import { createLog } from '../log.ts'

/** The log of this process on its standard output: for a person at a terminal, JSON lines for everything else. */
export function createProcessLog(config: Pick<Config, 'logLevel'>): Log {
  const { stdout } = process
  // A reader that went away (`| head`) must not end the server.
  if (stdout.listenerCount('error') === 0) stdout.on('error', () => {})
  return createLog({
    level: config.logLevel,
    format: stdout.isTTY ? 'pretty' : 'json',
    write: (line) => void stdout.write(`${line}\n`),
  })
}
