import { defineConfig } from '@hey-api/openapi-ts'

export default defineConfig({
  input: '../../openapi.json',
  output: { path: 'src/generated', module: { extension: '.ts' } },
  logs: { file: false },
  parser: {
    // followExecution is written by hand: the generated reader of events connects again after every error, a 404
    // included, and does not know when a run has ended.
    filters: { operations: { exclude: ['GET /api/executions/{execution}/events'] }, orphans: true },
  },
  plugins: [
    { name: '@hey-api/client-fetch', throwOnError: true },
    '@hey-api/typescript',
    {
      name: '@hey-api/sdk',
      client: false,
      operations: { strategy: 'single', containerName: 'AutomatosApi', methods: 'instance' },
    },
  ],
})
