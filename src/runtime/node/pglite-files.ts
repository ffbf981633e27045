import { readFileSync } from 'node:fs'
import type { PGliteOptions } from '@electric-sql/pglite'

type PgliteFiles = Pick<Required<PGliteOptions>, 'pgliteWasmModule' | 'fsBundle'>
let files: Promise<PgliteFiles> | undefined

/**
 * PostgreSQL as WebAssembly and its files, which PGlite loads by itself where it is not given them. Reading at once and
 * compiling in other threads means that whoever calls this early can load his own code meanwhile.
 */
export function pgliteFiles(): Promise<PgliteFiles> {
  if (!files) {
    files = load()
    // Whoever opens the database hears of what is wrong, when he does.
    files.catch(() => {})
  }
  return files
}

async function load(): Promise<PgliteFiles> {
  const file = (name: string) => readFileSync(new URL(name, import.meta.resolve('@electric-sql/pglite')))
  const compiled = WebAssembly.compile(file('pglite.wasm'))
  const fsBundle = new Blob([file('pglite.data')])
  return { pgliteWasmModule: await compiled, fsBundle }
}
