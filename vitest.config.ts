import { defineConfig } from 'vitest/config'

// node: everything, on PGlite, with no service. postgres: what touches rows, again, on a real server. redis: what only a
// real Redis shows.
export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: 'node',
          // Loading the product takes longer than most files' tests; nothing in it is global to a module.
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: [
            ...['workers', 'browser', 'chaos', 'postgres', 'redis'].map((folder) => `test/${folder}/**`),
            // Statements by the thousand, which PostgreSQL answers in half the time.
            'test/db/copy-rows.test.ts',
            'test/services/retention/**',
            'test/services/runs/{faults,outside}.test.ts',
            'test/services/sealing/reseal.test.ts',
            'test/services/subscriptions/deliveries.test.ts',
          ],
          globalSetup: ['test/support/global-setup.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'postgres',
          isolate: false,
          include: ['test/postgres/**/*.test.ts', 'test/services/**/*.test.ts', 'test/db/**/*.test.ts'],
          globalSetup: ['test/support/postgres-setup.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'redis',
          isolate: false,
          include: ['test/redis/**/*.test.ts'],
          globalSetup: ['test/support/redis-setup.ts', 'test/support/global-setup.ts'],
        },
      },
      {
        extends: true,
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          globalSetup: ['test/support/global-setup.ts'],
          // Swagger UI is 1.7 MB of script; on a loaded machine it takes its time.
          testTimeout: 120_000,
        },
      },
      {
        extends: true,
        test: {
          name: 'chaos',
          include: ['test/chaos/**/*.test.ts'],
          globalSetup: ['test/support/postgres-setup.ts'],
          testTimeout: 420_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
