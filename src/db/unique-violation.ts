/** Whether a statement failed because another row has the same key already: with both drivers an error of this code. */
export const isUniqueViolation = (error: unknown): boolean => (error as { code?: unknown } | null)?.code === '23505'
