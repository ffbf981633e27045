import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

// `npm run test:workers`. A file of its own, so that `npm test` needs no workerd.
// workers: inside workerd, on the bindings of wrangler.toml. workers-e2e: from outside, on a real `wrangler dev`.
export default defineConfig({
  test: {
    testTimeout: 20_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        plugins: [
          cloudflareTest(({ inject }) => ({
            main: './test/workers/support/worker.ts',
            wrangler: { configPath: './wrangler.toml' },
            miniflare: {
              bindings: {
                ENVIRONMENT: 'test',
                LOG_LEVEL: 'error',
                CREDENTIAL_ENCRYPTION_KEY: inject<string>('workersKeyRing'),
                RATE_LIMIT_DEFAULT: '1000/minute',
              },
              durableObjects: { PROBE: { className: 'ProbeWorker', useSQLite: true } },
            },
          })),
        ],
        resolve: {
          alias: [
            {
              find: /^(?:\.\.\/)+support\/database\.ts$/,
              replacement: `${import.meta.dirname}/test/workers/support/test-database.ts`,
            },
            {
              find: /^\.\/key-host\.ts$/,
              replacement: `${import.meta.dirname}/test/workers/support/key-host.ts`,
            },
          ],
        },
        test: {
          name: 'workers',
          // The schedules' own tests as well: their databases come from the file that the alias puts in place.
          include: [
            'test/workers/**/*.test.ts',
            'test/services/schedules/**/*.test.ts',
            'test/runtime/shared-store.test.ts',
            'test/services/identity/verify-token.test.ts',
            'test/services/identity/key-set.test.ts',
          ],
          exclude: ['test/workers/e2e/**'],
          globalSetup: ['test/workers/support/setup.ts'],
        },
      },
      {
        extends: true,
        test: { name: 'workers-e2e', include: ['test/workers/e2e/**/*.test.ts'] },
      },
    ],
  },
})
