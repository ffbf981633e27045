import { Command, CommanderError } from 'commander'
import { version } from '../../lib/version.ts'
import { addAgentCommands } from './commands/agent.ts'
import { addKeyCommands } from './commands/key.ts'
import { addRecipeCommands } from './commands/recipe.ts'
import { addRunsCommands } from './commands/runs.ts'
import { addScheduleCommands } from './commands/schedule.ts'
import { addServerCommands } from './commands/server.ts'
import { addStatusCommand } from './commands/status.ts'
import { exitCodes } from './exit-codes.ts'
import { reportError } from './report-error.ts'
import { addCommonOptions, Outcome } from './session.ts'
import { openTerminal } from './terminal.ts'

const help = `
Where the server is: --url, then AUTOMATOS_URL, then http://127.0.0.1:8000.
What opens it: --key, then AUTOMATOS_API_KEY, then DATA_DIR/admin-api-key of a local server in this folder.

Exit codes: 0 done · 1 the run failed · 2 wrong usage · 3 not found · 4 not allowed · 5 invalid input
            6 conflict · 7 no answer · 8 the server failed or is busy · 130 interrupted

Examples:
  $ automatos status
  $ automatos agent apply examples/summarizer.agent.json
  $ automatos recipe apply examples/feed-digest.json
  $ automatos recipe run feed-digest --input feed_url=https://example.org/feed.xml --follow
  $ automatos runs list --status failed`

export function createProgram(outcome: Outcome): Command {
  const program = new Command('automatos')
    .description('Recipes, runs, schedules, agents and keys of an Automatos server.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    // So that a command may have an option of the same name as the program: `--version`.
    .enablePositionalOptions()
    .exitOverride()
    .addHelpText('after', help)
  addCommonOptions(program)
  addRecipeCommands(program, outcome)
  addRunsCommands(program, outcome)
  addScheduleCommands(program, outcome)
  addAgentCommands(program, outcome)
  addKeyCommands(program, outcome)
  addStatusCommand(program, outcome)
  addServerCommands(program, outcome)
  return program
}

/** Runs one command line and gives the exit code. */
export async function main(args: string[]): Promise<number> {
  const outcome = new Outcome()
  try {
    await createProgram(outcome).parseAsync(args, { from: 'user' })
    return outcome.exitCode
  } catch (error) {
    // Commander has said what is wrong by now; help and the version are no error.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    return reportError(openTerminal(args.includes('--json')), error)
  }
}
