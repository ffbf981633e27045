import { readFileSync } from 'node:fs'
import type { PGliteOptions } from '@electric-sql/pglite'

type PgliteFiles = Pick<Required<PGliteOptions>, 'pgliteWasmModule' | 'fsBundle'>
let begun: Promise<PgliteFiles> | undefined

/** Reads them at once and compiles in other threads, so that whoever calls this early can load his own code meanwhile. */
export function beginPgliteFiles(): void {
  begun = load()
  // Whoever opens the database hears of what is wrong, when he does.
  begun.catch(() => {})
}

/** PostgreSQL as WebAssembly and its files, which PGlite loads by itself where it is not given them. */
export function pgliteFiles(): Promise<PgliteFiles> {
  const files = begun ?? load()
  // They are good for one database, and 6 MB that the next one need not have.
  begun = undefined
  return files
}

async function load(): Promise<PgliteFiles> {
  const file = (name: string) => readFileSync(new URL(name, import.meta.resolve('@electric-sql/pglite')))
  const compiled = WebAssembly.compile(file('pglite.wasm'))
  const fsBundle = new Blob([file('pglite.data')])
  return { pgliteWasmModule: await compiled, fsBundle }
}
