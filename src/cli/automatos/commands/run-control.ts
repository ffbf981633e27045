import type { Command } from 'commander'
import { CliError } from '../cli-error.ts'
import { exitCodes } from '../exit-codes.ts'
import { followToEnd } from '../follow.ts'
import { collectInput, toInput } from '../recipe-input.ts'
import { addCommand, type Outcome, type Session } from '../session.ts'
import { wholeNumber } from '../whole-number.ts'

interface FollowOption {
  follow?: boolean
}
interface ReplayOptions extends FollowOption {
  from?: string
  recipeVersion?: number
  input?: string[]
}
interface DecideOptions {
  comment?: string
}

export function addRunControlCommands(runs: Command, { run }: Pick<Outcome, 'run'>): void {
  addCommand(runs, 'pause <run>', 'Let a run stand still before its next step.', [
    'runs pause 01939f3c-… --reason "the supplier is asked"',
  ])
    .option('--reason <text>', 'kept with the run')
    .action(
      run<[string], { reason?: string }>(async ({ api, terminal }, { reason }, id) => {
        const { data } = await api.pauseExecution({ path: { execution: id }, body: reason ? { reason } : {} })
        if (terminal.json) return terminal.document(data)
        const waits = 'pauses when the step under way has ended'
        terminal.line(`Run ${data.id} ${data.status === 'paused' ? 'is paused' : waits}.`)
      }),
    )

  addCommand(runs, 'resume <run>', 'Let a paused run go on.', ['runs resume 01939f3c-… --follow'])
    .option('-f, --follow', 'show the run while it goes; the exit code is that of the run')
    .action(
      run<[string], FollowOption>(async (session, { follow }, id) => {
        const after = follow ? await endOfLog(session, id) : 0
        const { data } = await session.api.resumeExecution({ path: { execution: id } })
        if (follow) return followToEnd(session, id, after)
        if (session.terminal.json) return session.terminal.document(data)
        session.terminal.line(`Run ${data.id} goes on.`)
      }),
    )

  addCommand(runs, 'retry <run>', 'Let a failed run go on from the step that failed.', [
    'runs retry 01939f3c-…',
    'runs retry 01939f3c-… --follow',
  ])
    .option('-f, --follow', 'show the run while it goes; the exit code is that of the run')
    .action(
      run<[string], FollowOption>(async (session, { follow }, id) => {
        const after = follow ? await endOfLog(session, id) : 0
        const { data } = await session.api.retryExecution({ path: { execution: id } })
        if (follow) return followToEnd(session, id, after)
        if (session.terminal.json) return session.terminal.document(data)
        session.terminal.line(`Run ${data.id} is tried again, generation ${data.generation}.`)
      }),
    )

  addCommand(runs, 'replay <run>', 'Make a new run of an ended one, from its beginning or any step.', [
    'runs replay 01939f3c-… --from send --follow',
    'runs replay 01939f3c-… --recipe-version 4 --input feed_url=https://example.org/feed.xml',
  ])
    .option('--from <step>', 'path of a step; those before it keep their results')
    .option('--recipe-version <n>', 'go on in this version of the recipe', wholeNumber('--recipe-version'))
    .option('-i, --input <name=value>', 'change one input; may be repeated', collectInput)
    .option('-f, --follow', 'show the run while it goes; the exit code is that of the run')
    .action(run<[string], ReplayOptions>(replay))

  for (const [verb, decision] of [
    ['approve', 'approved'],
    ['reject', 'rejected'],
  ] as const)
    addCommand(runs, `${verb} <run-or-approval>`, `Decide what a run waits for: ${decision}.`, [
      `runs ${verb} 01939f3c-… --comment "seen"`,
    ])
      .option('--comment <text>', 'kept with the decision')
      .action(
        run<[string], DecideOptions>(async (session, { comment }, id) => {
          const { api, terminal } = session
          const approval = await pendingApproval(session, id)
          const body = { decision, ...(comment !== undefined && { comment }) }
          const { data } = await api
            .decideApproval({ path: { approval }, body })
            .catch((error: unknown) => nothingToDecide(error, id))
          if (terminal.json) return terminal.document(data)
          terminal.line(`Step ${data.step_path} of run ${data.execution_id} is ${data.status}.`)
        }),
      )
}

async function replay(session: Session, options: ReplayOptions, id: string): Promise<number | void> {
  const { api, terminal } = session
  const { data: started } = await api.replayExecution({
    path: { execution: id },
    body: {
      ...(options.from !== undefined && { from_step: options.from }),
      ...(options.recipeVersion !== undefined && { recipe_version: options.recipeVersion }),
      ...(options.input !== undefined && { input_data: await changedInput(session, id, options.input) }),
    },
  })
  if (options.follow) {
    if (terminal.json) terminal.jsonLine({ type: 'started', execution: started })
    else terminal.line(terminal.style.dim(`Run ${started.id}, a replay of ${id}`))
    return followToEnd(session, started.id)
  }
  if (terminal.json) return terminal.document(started)
  terminal.line(started.id)
  terminal.note(`Follow it: automatos runs follow ${started.id}`)
}

/** The input that the run had, with what the options change. */
async function changedInput({ api }: Session, id: string, input: string[]) {
  const { data: source } = await api.getExecution({ path: { execution: id } })
  const had = typeof source.input === 'object' && source.input !== null && !Array.isArray(source.input)
  const inputs =
    source.recipe_id === null ? null : (await api.getRecipe({ path: { recipe: source.recipe_id } })).data.inputs
  return toInput(had ? (source.input as never) : {}, input, inputs ?? null)
}

/** Where the log of a run ends now: what is followed from there is what comes next. */
async function endOfLog({ api }: Session, id: string): Promise<number> {
  const { data } = await api.getExecution({ path: { execution: id } })
  return data.last_seq
}

/** An approval by its own id, or the one that a run waits for. */
async function pendingApproval({ api }: Session, id: string): Promise<string> {
  const { data } = await api.listApprovals({ query: { execution_id: id, status: 'pending', limit: 2 } })
  const [approval, another] = data.items
  if (another) throw new CliError(`Run ${id} waits for several decisions. Name one: ${approval!.id}, ${another.id}.`)
  return approval?.id ?? id
}

/** Of a run that waits for nobody there is no approval either, and the server speaks of what it was asked for. */
async function nothingToDecide(error: unknown, id: string): Promise<never> {
  const { ApiError } = await import('../../../../clients/typescript/src/index.ts')
  if (!(error instanceof ApiError) || error.status !== 404) throw error
  throw new CliError(`Nothing waits for a decision as ${id}: no run, and no approval.`, exitCodes.notFound)
}
