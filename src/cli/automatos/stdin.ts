import { text } from 'node:stream/consumers'
import { CliError } from './cli-error.ts'

/** All of standard input; a terminal, from which nothing would come, is refused. */
export async function readStdin(): Promise<string> {
  if (process.stdin.isTTY) throw new CliError('Standard input is a terminal: give a file, or pipe something in.')
  return text(process.stdin)
}
