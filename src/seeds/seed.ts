import type { Runtime } from '../context.ts'

/** Data the product needs in every database. Runs at each start, any number of times, from any number of processes at once. */
export interface Seed {
  name: string
  run(runtime: Runtime): Promise<void>
}
