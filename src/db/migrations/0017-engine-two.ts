import type { Migration } from './migration.ts'

/** Runs made from here on may have lists with `needs`, which workers of the first engine would take one by one. */
export const engineTwo: Migration = {
  name: '0017-engine-two',
  statements: [`alter table runs alter column engine_version set default 2`],
}
