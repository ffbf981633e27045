import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { AtEnd } from './folder.ts'

export const repository = fileURLToPath(new URL('../../', import.meta.url))
const bun = fileURLToPath(new URL('../../node_modules/.bin/bun', import.meta.url))

/** The runtimes that long-lived processes run on, and what starts each. */
export const runtimes = { node: process.execPath, bun } as const
export type RuntimeName = keyof typeof runtimes

export interface TestProcess {
  child: ChildProcess
  pid: number
  stdout(): string
  stderr(): string
  /** Resolves once the output (both streams) matches; rejects if the process ends before. */
  saying(pattern: RegExp): Promise<RegExpExecArray>
  /** Code, or the signal that ended it. */
  ended: Promise<number | NodeJS.Signals>
}

/** A real process with exactly this environment, killed when the test (or what `atEnd` names) ends if it still lives. */
export function startProcess(
  command: string,
  args: string[],
  env: Record<string, string> = {},
  atEnd: AtEnd = onTestFinished,
): TestProcess {
  const child = spawn(command, args, {
    cwd: repository,
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  const watchers = new Set<() => void>()
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
      for (const watch of watchers) watch()
    })
  }
  const ended = new Promise<number | NodeJS.Signals>((resolve, reject) => {
    child.once('error', reject)
    // Not `exit`: by `close` all output has been read.
    child.once('close', (code, signal) => resolve(code ?? signal ?? -1))
  })
  atEnd(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await ended
  })
  return {
    child,
    pid: child.pid!,
    stdout: () => output.stdout,
    stderr: () => output.stderr,
    ended,
    saying: (pattern) =>
      new Promise((resolve, reject) => {
        const watch = () => {
          const match = pattern.exec(output.stdout) ?? pattern.exec(output.stderr)
          if (!match) return
          watchers.delete(watch)
          resolve(match)
        }
        watchers.add(watch)
        void ended.then((code) => reject(new Error(`Ended with ${code}:\n${output.stdout}\n${output.stderr}`)))
        watch()
      }),
  }
}
