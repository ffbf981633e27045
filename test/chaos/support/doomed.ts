import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { repository } from '../../support/process.ts'
import type { Lifetime, Sent } from './life.ts'

const program = fileURLToPath(new URL('./doomed.program.ts', import.meta.url))

export interface DoomedProgram {
  file: string
  /** Where its processes keep what V8 made of it. */
  cache: string
  remove(): Promise<void>
}

/** The program built as the product is: a process that lives for half a second must not take two to load. */
export async function buildDoomed(): Promise<DoomedProgram> {
  // Inside the repository, where the product finds itself.
  await mkdir(join(repository, 'dist'), { recursive: true })
  const folder = await mkdtemp(join(repository, 'dist/chaos-'))
  await build({
    entryPoints: [program],
    outdir: folder,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    mainFields: ['module', 'main'],
    external: ['@electric-sql/pglite'],
    banner: {
      js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
    },
    logLevel: 'error',
  })
  return {
    file: join(folder, 'doomed.program.js'),
    cache: join(folder, 'cache'),
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

/** A process that has loaded and waits to be told what to live through. */
export class Doomed {
  readonly #child: ChildProcess
  readonly #ready: Promise<unknown>
  readonly #ended: Promise<unknown>
  #ends: (Sent[] | null)[] | null = null

  constructor({ file, cache }: DoomedProgram) {
    this.#child = spawn(process.execPath, [file], {
      env: { NODE_COMPILE_CACHE: cache },
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
    this.#ended = once(this.#child, 'close')
    this.#ready = new Promise((resolve, reject) => {
      this.#child.on('message', (message: { ready: true } | { ends: (Sent[] | null)[] }) => {
        if ('ready' in message) resolve(null)
        else this.#ends = message.ends
      })
      void this.#ended.then(() => reject(new Error('The process ended before it was ready.')))
    })
    this.#ready.catch(() => {})
  }

  /** Of each life, the statements where it came to its end before the process was killed, and null where it was in its middle. */
  async live(lifetimes: Lifetime[]): Promise<(Sent[] | null)[]> {
    await this.#ready
    this.#child.send(lifetimes)
    await this.#ended
    if (this.#ends === null || this.#child.signalCode !== 'SIGKILL')
      throw new Error(`The process ended with ${this.#child.exitCode}, not by its death.`)
    return this.#ends
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }
}
