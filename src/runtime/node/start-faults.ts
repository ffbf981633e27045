import { ConfigError } from '../../config.ts'
import { StartupError } from './startup-error.ts'

/** sysexits.h: EX_CONFIG */
const badConfig = 78

/** Says why the process cannot start and returns its exit code: a line for what a person can repair, a stack for a bug. */
export function reportStartFault(error: unknown, say: (text: string) => void = (text) => console.error(text)): number {
  if (error instanceof ConfigError) {
    say(error.message)
    return badConfig
  }
  if (error instanceof StartupError) {
    say(error.message)
    return error.exitCode
  }
  say(`Automatos could not start. ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  return 1
}
