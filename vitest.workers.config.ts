import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

// `npm run test:workers`: inside workerd, on the bindings of wrangler.toml. Its own file, so that `npm test` does without workerd.
export default defineConfig({
  plugins: [
    cloudflareTest(({ inject }) => ({
      main: './test/workers/support/worker.ts',
      wrangler: { configPath: './wrangler.toml' },
      miniflare: {
        bindings: {
          ENVIRONMENT: 'test',
          LOG_LEVEL: 'error',
          CREDENTIAL_ENCRYPTION_KEY: inject<string>('workersKeyRing'),
        },
        durableObjects: { PROBE: { className: 'ProbeWorker', useSQLite: true } },
      },
    })),
  ],
  test: {
    name: 'workers',
    include: ['test/workers/**/*.test.ts'],
    exclude: ['test/workers/e2e/**'],
    globalSetup: ['test/workers/support/setup.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
})
