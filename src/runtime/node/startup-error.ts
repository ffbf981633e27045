/** A reason not to start that a person can act on. The entries print its message, one line, and no stack. */
export class StartupError extends Error {
  /** sysexits.h: EX_CONFIG where the configuration is at fault, else EX_UNAVAILABLE. */
  readonly exitCode: number
  constructor(message: string, cause?: unknown, exitCode = 69) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'StartupError'
    this.exitCode = exitCode
  }
}
