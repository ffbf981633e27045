import { isTransactionConflict } from '../lib/transaction-conflict.ts'

/** Does the work of a whole transaction a second time where the server ended it for the sake of another, which is over by then. */
export async function onceMore<T>(transaction: () => Promise<T>): Promise<T> {
  try {
    return await transaction()
  } catch (error) {
    if (!isTransactionConflict(error)) throw error
    return transaction()
  }
}
