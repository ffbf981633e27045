/**
 * Whether an error is what the server says of one statement. What fails together is then tried each alone, so that what one
 * meets holds up no other; a database that is away would be away for each of them.
 */
export function isOfStatement(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)
}
