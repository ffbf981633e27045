import type { Command } from 'commander'
import { exitCodes } from '../exit-codes.ts'
import type { Outcome } from '../session.ts'

const group = 'On the machine of the server (settings come from its environment and .env):'

/** What works in this process and on the data itself, where every other command asks a server. */
export function addServerCommands(program: Command, outcome: Outcome): void {
  const add = (name: string, description: string, run: () => Promise<unknown>) =>
    program
      .command(name)
      .description(description)
      .helpGroup(group)
      .helpCommand(false)
      .action(async () => {
        await run()
        outcome.exitCode = Number(process.exitCode ?? exitCodes.ok)
      })
  add('serve', 'Run the server until it is told to stop.', () => import('../../../node-server.ts'))
  add('migrate', 'Bring the database up to date: schema and seeds.', () => import('../../migrate.ts'))
  add('config', 'Show the effective settings and where each comes from.', () => import('../../config.ts'))
  add(
    'move-to-postgres',
    'Move the embedded database into the empty PostgreSQL of DATABASE_URL.',
    () => import('../../move-to-postgres.ts'),
  )
  add(
    'rotate-keys',
    'Seal every stored secret anew with the first key of the ring.',
    () => import('../../rotate-keys.ts'),
  )
}
