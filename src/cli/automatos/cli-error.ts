import { exitCodes } from './exit-codes.ts'

/** One fault in a file that was given. */
export interface FileFault {
  file: string
  line: number | null
  column: number | null
  /** JSON pointer into the recipe; null where the file could not be read as one. */
  pointer: string | null
  detail: string
}

/** An end that the program has foreseen: a sentence for people, a code for scripts. */
export class CliError extends Error {
  readonly exitCode: number
  readonly faults: FileFault[]

  constructor(message: string, exitCode: number = exitCodes.usage, faults: FileFault[] = []) {
    super(message)
    this.name = 'CliError'
    this.exitCode = exitCode
    this.faults = faults
  }
}
