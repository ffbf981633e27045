import { afterAll, expect, test } from 'vitest'
import { parseConfig } from '../../src/config.ts'
import type { Runtime } from '../../src/context.ts'
import { systemClock } from '../../src/runtime/clock.ts'
import { runSeeds } from '../../src/seeds/index.ts'
import type { Seed } from '../../src/seeds/seed.ts'
import { createTestDatabase } from '../support/database.ts'
import { createTestLog } from '../support/log.ts'

const database = await createTestDatabase()
afterAll(() => database.close())

const runtime = {
  platform: 'node',
  config: parseConfig({ DATABASE_URL: database.url }),
  db: database.db,
  clock: systemClock,
  log: createTestLog(),
} as unknown as Runtime

test('processes that start together seed one after the other', async () => {
  let inside = 0
  let most = 0
  const seed: Seed = {
    name: 'example',
    async run({ db }) {
      most = Math.max(most, ++inside)
      // A transaction of its own, as seeds have, on another connection than the one that holds the lock.
      await db.transaction().execute((tx) => tx.selectFrom('workspaces').selectAll().execute())
      inside--
    },
  }
  await Promise.all([1, 2, 3].map(() => runSeeds(runtime, [seed, seed])))
  expect(most).toBe(1)
})

test('a seed that fails leaves the lock free', async () => {
  const bad: Seed = { name: 'bad', run: () => Promise.reject(new Error('boom')) }
  await expect(runSeeds(runtime, [bad])).rejects.toThrow('boom')
  await runSeeds(runtime, [])
})

test("the product's own seeds change nothing the second time", async () => {
  await runSeeds(runtime)
  const before = await database.db.selectFrom('workspaces').selectAll().execute()
  await runSeeds(runtime)
  expect(await database.db.selectFrom('workspaces').selectAll().execute()).toEqual(before)
  expect(before).toHaveLength(1)
})
