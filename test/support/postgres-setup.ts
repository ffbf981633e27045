import type { TestProject } from 'vitest/node'

/** The `postgres` project runs on the server that TEST_POSTGRES_URL names, a new database for each test file. */
export default function setup(project: TestProject) {
  project.provide('postgresUrl', process.env['TEST_POSTGRES_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres')
  project.provide('pgliteDump', undefined)
}
