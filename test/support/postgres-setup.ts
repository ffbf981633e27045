import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import type { TestProject } from 'vitest/node'
import { migrate } from '../../src/db/migrate.ts'
import { postgresScopes } from '../../src/runtime/postgres-dialect.ts'
import { PostgresPool } from '../../src/runtime/postgres-pool.ts'

/**
 * The `postgres` project runs on the server that TEST_POSTGRES_URL names, a new database for each test file: a copy of one that
 * is migrated here, which takes a fraction of the time of migrating it.
 */
export default async function setup(project: TestProject) {
  const base = process.env['TEST_POSTGRES_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres'
  const admin = postgres(base, { max: 1, onnotice: () => {} })
  const template = `automatos_template_${randomUUID().replaceAll('-', '').slice(0, 16)}`
  await admin.unsafe(`create database ${template}`)
  const url = new URL(base)
  url.pathname = `/${template}`
  const pool = new PostgresPool({ connect: (line) => postgres(url.href, { ...line, onnotice() {} } as object), max: 1 })
  await migrate(postgresScopes(pool).login)
  // Nobody may be connected to what is copied.
  await pool.close(5_000)
  project.provide('postgresUrl', base)
  project.provide('postgresTemplate', template)
  project.provide('pgliteDump', undefined)
  return async () => {
    await admin.unsafe(`drop database if exists ${template} with (force)`)
    await admin.end()
  }
}
