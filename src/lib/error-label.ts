import { AppError } from './errors.ts'

/**
 * An error in a few words that anybody may read. Messages name hosts, statements and things of tenants, so only the kind
 * and the code are shown; the message belongs in the log.
 */
export function errorLabel(error: unknown): string {
  if (error instanceof AppError) return error.kind
  if (!(error instanceof Error)) return 'unknown'
  const { code } = error as { code?: unknown }
  return typeof code === 'string' && /^[A-Z0-9_]{1,40}$/.test(code) ? `${error.name} ${code}` : error.name
}
