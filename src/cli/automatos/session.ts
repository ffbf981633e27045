import { Option, type Command } from 'commander'
import type { Automatos } from '../../../clients/typescript/src/index.ts'
import { version } from '../../lib/version.ts'
import { connect, findConnection, type Connection, type ConnectionOptions } from './connection.ts'
import { exitCodes } from './exit-codes.ts'
import { reportError } from './report-error.ts'
import { openTerminal, type Terminal } from './terminal.ts'

/** What a command works with. */
export interface Session {
  api: Automatos
  connection: Connection
  terminal: Terminal
}

/** Does a command's work; gives the exit code where that is not 0. */
export type Handler<Arguments extends unknown[], Options> = (
  session: Session,
  options: Options,
  ...args: Arguments
) => Promise<number | void>

interface CommonOptions extends ConnectionOptions {
  json?: boolean
}

/** Carries the exit code of the command that ran out of commander, which has no place for one. */
export class Outcome {
  exitCode: number = exitCodes.ok

  /** Makes a handler an action of commander: opens the session, and turns what is thrown into a message and a code. */
  readonly run =
    <Arguments extends unknown[], Options>(handler: Handler<Arguments, Options>) =>
    async (...parameters: unknown[]): Promise<void> => {
      const command = parameters.at(-1) as Command
      const options = command.optsWithGlobals<CommonOptions & Options>()
      // Commander hands over the declared arguments, then its own two.
      const args = parameters.slice(0, -2) as Arguments
      const terminal = openTerminal(options.json === true)
      let connection: Connection | undefined
      try {
        connection = findConnection(options)
        const api = await connect(connection, version)
        this.exitCode = (await handler({ api, connection, terminal }, options, ...args)) ?? exitCodes.ok
      } catch (error) {
        this.exitCode = await reportError(terminal, error, connection)
      }
    }
}

/** A command under `parent`, with the options that all have and its examples in the help. */
export function addCommand(parent: Command, usage: string, description: string, examples: string[]): Command {
  const command = addCommonOptions(parent.command(usage).description(description))
  const lines = examples.map((line) => (line.includes('automatos ') ? `  $ ${line}` : `  $ automatos ${line}`))
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`)
}

/** A noun under which commands stand. */
export const addGroup = (program: Command, name: string, description: string): Command =>
  program.command(name).description(description).helpCommand(false)

const commonOptions = [
  ['--url <url>', 'address of the server; default AUTOMATOS_URL, then the local server'],
  ['--key <key>', 'API key; default AUTOMATOS_API_KEY, then the key of a server in this folder'],
  ['--json', 'JSON on standard output, and nothing else'],
] as const

export function addCommonOptions(command: Command): Command {
  for (const [flags, description] of commonOptions)
    command.addOption(new Option(flags, description).helpGroup('Common options:'))
  return command
}
