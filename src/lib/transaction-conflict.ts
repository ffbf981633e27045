/** Whether the server has ended a transaction for the sake of another: a deadlock, or changes that cannot stand side by side. */
export function isTransactionConflict(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code
  return code === '40P01' || code === '40001'
}
