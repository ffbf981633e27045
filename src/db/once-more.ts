/** Whether the server has ended a transaction for the sake of another: a deadlock, or changes that cannot stand side by side. */
export const isTransactionConflict = (error: unknown): boolean => {
  const code = (error as { code?: unknown } | null)?.code
  return code === '40P01' || code === '40001'
}

/** Does the work of a whole transaction a second time where the server ended it for the sake of another, which is over by then. */
export async function onceMore<T>(transaction: () => Promise<T>): Promise<T> {
  try {
    return await transaction()
  } catch (error) {
    if (!isTransactionConflict(error)) throw error
    return transaction()
  }
}
