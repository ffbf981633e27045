import type {
  Execution,
  ExecutionStatus,
  ExecutionStep,
  ExecutionSummary,
} from '../../../clients/typescript/src/index.ts'
import { printFields, printTable } from './table.ts'
import type { Terminal } from './terminal.ts'
import { localTime, oneLine, timeSpan } from './text.ts'

type Status = ExecutionStatus | ExecutionStep['status']

/** A status in the colour that goes with it. */
export function paintStatus({ style }: Terminal, status: Status, text: string = status): string {
  if (status === 'succeeded') return style.green(text)
  if (status === 'failed' || status === 'timed_out') return style.red(text)
  if (status === 'canceled' || status === 'paused' || status === 'blocked') return style.yellow(text)
  return status === 'running' ? style.cyan(text) : text
}

/** How long it took, or has taken so far; empty where it has not begun. */
export function tookOf({ started_at, finished_at }: Pick<ExecutionSummary, 'started_at' | 'finished_at'>): string {
  if (started_at === null) return ''
  return timeSpan((finished_at === null ? Date.now() : Date.parse(finished_at)) - Date.parse(started_at))
}

/** `2 model calls, 812 tokens in, 94 out, $0.000391`; empty where no model was asked. */
export function usageOf({ usage }: ExecutionSummary): string {
  if (usage.model_calls === 0) return ''
  const calls = `${usage.model_calls} model ${usage.model_calls === 1 ? 'call' : 'calls'}`
  const cost = usage.cost_usd === null ? 'cost unknown' : `$${usage.cost_usd}`
  return `${calls}, ${usage.input_tokens} tokens in, ${usage.output_tokens} out, ${cost}`
}

export function errorOf({ error }: Pick<ExecutionSummary, 'error'>): string {
  if (error === null) return ''
  const step = typeof error['step'] === 'string' ? ` in ${error['step']}` : ''
  return `${error.kind}${step}: ${error.detail}`
}

export const triggerOf = ({ trigger }: ExecutionSummary): string => trigger.kind

/** How a run ended, in one line. */
export function printEnd(terminal: Terminal, run: Execution): void {
  const took = tookOf(run)
  const about = [took && `after ${took}`, usageOf(run), errorOf(run)].filter(Boolean).map(oneLine).join(' · ')
  terminal.line(`${paintStatus(terminal, run.status, `● ${run.status}`)} ${about}`.trimEnd())
}

/** What a run gave: text as it is, anything else as JSON. */
export function printOutput(terminal: Terminal, output: unknown): void {
  if (output === null || output === undefined) return
  terminal.result(typeof output === 'string' ? output.replace(/\n$/, '') : JSON.stringify(output, null, 2))
}

export function printRun(terminal: Terminal, run: Execution, recipe: string | null): void {
  terminal.line(`${paintStatus(terminal, run.status, `● ${run.status}`)} ${terminal.style.bold(run.id)}`)
  printFields(terminal, [
    ['recipe', recipe === null ? null : `${recipe}, version ${run.recipe_version ?? '?'}`],
    ['trigger', triggerOf(run)],
    ['created', localTime(run.created_at)],
    ['started', localTime(run.started_at)],
    ['finished', localTime(run.finished_at)],
    ['took', tookOf(run)],
    ['usage', usageOf(run)],
    ['error', errorOf(run)],
  ])
  if (run.steps.length > 0) {
    terminal.line()
    printTable(terminal, run.steps, [
      { title: 'STEP', of: ({ path }) => path },
      { title: 'KIND', of: ({ kind }) => kind },
      { title: 'STATUS', of: ({ status }) => status, paint: (text, step) => paintStatus(terminal, step.status, text) },
      { title: 'TRIES', of: ({ attempts }) => (attempts > 0 ? attempts : '') },
      { title: 'TOOK', of: tookOf },
      { title: 'ERROR', of: errorOf },
    ])
    const more = run.steps_total - run.steps.length
    if (more > 0) terminal.line(terminal.style.dim(`… and ${more} more steps`))
  }
  section(terminal, 'Input', run.input)
  section(terminal, 'Output', run.output)
}

function section(terminal: Terminal, title: string, value: unknown): void {
  if (value === null || value === undefined) return
  terminal.line()
  terminal.line(terminal.style.bold(title))
  printOutput(terminal, value)
}
