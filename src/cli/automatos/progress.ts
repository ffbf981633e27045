import type { ExecutionEvent } from '../../../clients/typescript/src/index.ts'
import { describeEvent, waitsFor } from './describe-event.ts'
import type { Terminal } from './terminal.ts'
import { oneLine, timeSpan, truncate } from './text.ts'

/** Shows a run while it goes. */
export interface Progress {
  show(event: ExecutionEvent): void
  /** Leaves the terminal as it should be; nothing is drawn again after it. */
  close(): void
}

/** A line an event: for files, pipes and logs. */
export const lineProgress = (terminal: Terminal): Progress => ({
  show(event) {
    const line = describeEvent(event)
    if (line !== null) terminal.line(line)
  },
  close() {},
})

interface OpenStep {
  kind: string
  startedMs: number
  attempt: number
  detail: string
  /** The end of what a model has said so far. */
  text: string
}

const fresh = { attempt: 1, detail: '', text: '' }

// Text comes in many small pieces; more pictures a second than this only flicker.
const redrawMs = 50
const textTail = 400

/** Steps that have ended stay as lines; below them those at work, drawn again as they change. */
export function liveProgress(terminal: Terminal): Progress {
  const { style } = terminal
  const open = new Map<string, OpenStep>()
  let ended: string[] = []
  let drawnRows = 0
  let pending: ReturnType<typeof setTimeout> | undefined

  const finish = (path: string, mark: string, at: string, detail = '') => {
    const step = open.get(path)
    open.delete(path)
    const took = step ? timeSpan(Date.parse(at) - step.startedMs) : ''
    const tries = step && step.attempt > 1 ? `${step.attempt} attempts` : ''
    const about = [took, tries, oneLine(detail)].filter(Boolean).join('  ')
    ended.push(fit(`${oneLine(path)}  ${about}`, mark, (text) => text))
  }
  const fit = (text: string, mark: string, paint: (text: string) => string) =>
    `${mark} ${paint(truncate(text, Math.max(10, terminal.columns() - 3)))}`

  const linesOf = () => {
    const most = Math.max(1, terminal.rows() - 3)
    const lines = [...open].slice(0, most).map(([path, step]) => {
      const about = step.detail === '' ? step.kind : step.detail
      return fit(`${oneLine(path)}  ${timeSpan(Date.now() - step.startedMs)}  ${about}`, style.cyan('▸'), style.dim)
    })
    if (open.size > most) lines.push(style.dim(`  … and ${open.size - most} more`))
    return lines
  }
  const draw = () => {
    clearTimeout(pending)
    pending = undefined
    const lines = linesOf()
    const up = drawnRows > 0 ? `\u001b[${drawnRows}A` : ''
    terminal.write(`${up}\r\u001b[J${[...ended, ...lines].map((line) => `${line}\n`).join('')}`)
    ended = []
    drawnRows = lines.length
  }
  // Shows that time passes while nothing happens.
  const clock = setInterval(() => open.size > 0 && draw(), 1_000)

  return {
    show(event) {
      note(event)
      pending ??= setTimeout(draw, redrawMs)
    },
    close() {
      clearInterval(clock)
      open.clear()
      draw()
    },
  }

  function note(event: ExecutionEvent): void {
    const at = event.created_at
    switch (event.type) {
      case 'step.started': {
        const { path, kind, attempt } = event.data
        open.set(path, { ...fresh, kind, attempt, startedMs: open.get(path)?.startedMs ?? Date.parse(at) })
        return
      }
      case 'step.succeeded':
        return finish(event.data.path, style.green('✓'), at)
      case 'step.failed':
        return finish(event.data.path, style.red('✗'), at, event.data.error.detail)
      case 'step.skipped':
        return finish(event.data.path, style.dim('∅'), at, 'skipped')
      case 'step.retrying':
        return tell(event.data.path, `again in ${timeSpan(event.data.delay_ms)}: ${event.data.error.detail}`)
      case 'step.waiting':
        open.set(event.data.path, { ...fresh, kind: event.data.kind, startedMs: Date.parse(at) })
        return tell(event.data.path, waitsFor(event.data))
      case 'text.delta':
        return addText(event.data.path, event.data.text)
      case 'tool.call':
        return tell(event.data.path, `calls ${event.data.name}`)
      case 'tool.result':
        return tell(event.data.path, '')
      case 'log':
        ended.push(fit(oneLine(`${event.data.level}: ${event.data.message}`), style.yellow('!'), (text) => text))
        return
      case 'execution.released':
      case 'execution.recovered':
        ended.push(fit(event.type, style.yellow('●'), style.dim))
        return
      default:
    }
  }

  function tell(path: string, detail: string): void {
    const step = open.get(path)
    if (step) step.detail = oneLine(detail)
  }

  function addText(path: string, text: string): void {
    const step = open.get(path)
    if (!step) return
    step.text = (step.text + text).slice(-textTail)
    const room = Math.max(20, terminal.columns() - path.length - 20)
    step.detail = `“ ${oneLine(step.text).slice(-room)}`
  }
}
