import { defineConfig } from 'vitest/config'

// `npm run test:bun`: vitest itself inside Bun. Threads, because Bun cannot fork vitest's workers.
// Whatever has no Node API of its own at its heart: the language, the services with the engine, the adapters that both share.
export default defineConfig({
  test: {
    name: 'bun',
    include: [
      'test/lib/**/*.test.ts',
      'test/services/**/*.test.ts',
      'test/runtime/**/*.test.ts',
      'test/config.test.ts',
    ],
    globalSetup: ['test/support/global-setup.ts'],
    pool: 'threads',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
