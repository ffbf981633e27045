import { AppError } from './errors.ts'

/** Long enough for a restart to get on, short enough that a caller who waits is back soon after it. */
const retryAfterSeconds = 2

/**
 * The database cannot be reached, or does not serve now. Whatever was sent last may have been carried out. Answers 503 with
 * Retry-After wherever it reaches the caller; the engine tries again.
 */
export class DatabaseAway extends AppError {
  constructor(cause: unknown) {
    super('unavailable', 'The database does not answer. Try again shortly.', {
      headers: { 'retry-after': String(retryAfterSeconds) },
      cause,
    })
  }
}
