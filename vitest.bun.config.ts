import { defineConfig } from 'vitest/config'

// `npm run test:bun`: vitest itself inside Bun. Threads, because Bun cannot fork vitest's workers.
export default defineConfig({
  test: {
    pool: 'threads',
    // As in vitest.config.ts: loading the product takes longer than most files' tests.
    isolate: false,
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'bun',
          // What depends on the runtime: the language, the engine with its steps and clocks, cryptography, the adapters. What
          // is statements and nothing of the runtime Node and PostgreSQL show.
          include: [
            'test/lib/**/*.test.ts',
            'test/services/{budgets,credentials,identity,models,runs,schedules,sealing,signing,steps}/**/*.test.ts',
            'test/runtime/**/*.test.ts',
            'test/clients/**/*.test.ts',
            'test/config.test.ts',
          ],
          exclude: ['test/lib/slots/oracle.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'bun-postgres',
          include: ['test/postgres/**/*.test.ts'],
          // The processes that it starts and halts are Node's.
          exclude: ['test/postgres/move-to-postgres.test.ts'],
          globalSetup: ['test/support/postgres-setup.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'bun-redis',
          include: ['test/redis/**/*.test.ts'],
          globalSetup: ['test/support/redis-setup.ts', 'test/support/global-setup.ts'],
        },
      },
    ],
  },
})
