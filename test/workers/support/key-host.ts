import { inject } from 'vitest'

export type { Fault } from '../../support/key-host.ts'

/** Stands in for test/support/key-host.ts inside workerd, where no server can listen: the one outside. */
export const keyHost = async (): Promise<string> => inject('keyHost')
