/** What the program's exit code says. `docs/cli.md` lists them; numbers are never given a new meaning. */
export const exitCodes = {
  ok: 0,
  runFailed: 1,
  usage: 2,
  notFound: 3,
  notAllowed: 4,
  invalid: 5,
  conflict: 6,
  unreachable: 7,
  serverFailed: 8,
  /** A fault of this program itself. */
  internal: 70,
  /** As shells have it for SIGINT. */
  interrupted: 130,
} as const

export function exitCodeOf(status: number): number {
  if (status === 401 || status === 403) return exitCodes.notAllowed
  if (status === 404) return exitCodes.notFound
  if (status === 409 || status === 412) return exitCodes.conflict
  if (status === 429 || status >= 500) return exitCodes.serverFailed
  return exitCodes.invalid
}
