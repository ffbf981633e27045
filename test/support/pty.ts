import { spawn } from 'node:child_process'
import { onTestFinished } from 'vitest'
import { repository } from './process.ts'

export interface TerminalProcess {
  /** All that has appeared, escape sequences included. */
  output(): string
  /** Resolves once the output matches; rejects if the process ends before. */
  saying(pattern: RegExp): Promise<RegExpExecArray>
  /** Keys, as a person would press them: `\u0003` is Ctrl-C. */
  press(keys: string): void
  ended: Promise<number>
}

const quoted = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`

/** A program in a terminal of its own (util-linux `script`), which goes with the test. */
export function startInTerminal(
  command: readonly string[],
  env: Record<string, string>,
  { columns = 80, rows = 24 } = {},
): TerminalProcess {
  const line = `stty cols ${columns} rows ${rows}; exec ${command.map(quoted).join(' ')}`
  const child = spawn('script', ['--quiet', '--return', '--flush', '--command', line, '/dev/null'], {
    cwd: repository,
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', TERM: 'xterm-256color', ...env },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let output = ''
  const watchers = new Set<() => void>()
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    for (const watch of watchers) watch()
  })
  const ended = new Promise<number>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve(code ?? (signal === null ? -1 : 128)))
  })
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended
  })
  return {
    output: () => output,
    press: (keys) => void child.stdin.write(keys),
    ended,
    saying: (pattern) =>
      new Promise((resolve, reject) => {
        const watch = () => {
          const match = pattern.exec(output)
          if (!match) return
          watchers.delete(watch)
          resolve(match)
        }
        watchers.add(watch)
        void ended.then((code) => reject(new Error(`Ended with ${code}:\n${output}`)))
        watch()
      }),
  }
}
