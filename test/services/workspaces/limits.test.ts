import { sql } from 'kysely'
import { expect, test } from 'vitest'
import { jsonb } from '../../../src/db/json.ts'
import { permissions } from '../../../src/lib/permissions.ts'
import { createAgent, deleteAgent } from '../../../src/services/agents.service.ts'
import { createApiKey } from '../../../src/services/api-keys.service.ts'
import { storeFile } from '../../../src/services/files/store-file.ts'
import { createRecipe } from '../../../src/services/recipes.service.ts'
import { inviteMember } from '../../../src/services/team.service.ts'
import {
  createWorkspace,
  getCurrentLimits,
  putPlan,
  setLimitsOf,
  updateCurrentWorkspace,
} from '../../../src/services/workspaces.service.ts'
import { tenancyService } from '../../../src/services/workspaces/purge.ts'
import { createTestDatabase } from '../../support/database.ts'
import { createTeam, outcomes } from '../../support/team.ts'

const database = await createTestDatabase()
const { db } = database

async function limited(limits: Record<string, number | null>) {
  const team = await createTeam(database)
  const owner = await team.member('owner')
  await db
    .updateTable('workspaces')
    .set({ limits: jsonb(limits) })
    .where('id', '=', team.workspaceId)
    .execute()
  return { ...team, owner }
}
const recipe = (n: number) => ({ name: `Recipe ${n}`, steps: [{ id: 'a', kind: 'wait', duration: '1s' }] })
const file = (n: number, size = 10) => ({
  name: `${n}.txt`,
  mediaType: 'text/plain',
  bytes: new Uint8Array(size),
  source: 'upload' as const,
})
const operator = async () => {
  const team = await createTeam(database)
  return team.member('owner', { permissions: new Set(permissions) })
}
const allowedRuns = async (id: string) =>
  (await db.selectFrom('workspace_limits').select('runs').where('workspace_id', '=', id).executeTakeFirst())?.runs

test('of twenty that are made at once no more pass than there is room for, whatever is limited', async () => {
  const { owner } = await limited({ agents: 7, recipes: 5, api_keys: 3, members: 6, documents: 4, storage_bytes: 1000 })
  const each = Array.from({ length: 20 }, (_, n) => n)
  const passed = async (make: (n: number) => Promise<unknown>) => {
    const ends = await outcomes(each.map(make))
    expect(new Set(ends)).toEqual(new Set(['ok', 'limit-reached']))
    return ends.filter((end) => end === 'ok').length
  }
  expect(await passed((n) => createAgent(owner, { name: `Agent ${n}`, slug: `agent-${n}` }))).toBe(7)
  expect(await passed((n) => createRecipe(owner, recipe(n)))).toBe(5)
  expect(await passed((n) => createApiKey(owner, { name: `Key ${n}`, kind: 'server', scopes: [] }))).toBe(3)
  // The owner has the first of the six seats.
  expect(await passed((n) => inviteMember(owner, 'current', { email: `m${n}@example.com`, role: 'viewer' }))).toBe(5)
  expect(await passed((n) => storeFile(owner, file(n)))).toBe(4)
  const { limits } = await getCurrentLimits(owner)
  expect(limits).toEqual({
    agents: { limit: 7, used: 7 },
    recipes: { limit: 5, used: 5 },
    api_keys: { limit: 3, used: 3 },
    members: { limit: 6, used: 6 },
    documents: { limit: 4, used: 4 },
    storage_bytes: { limit: 1000, used: 40 },
    concurrent_runs: { limit: null, used: 0 },
  })
})

test('what is given up makes room, and a file that is sent again takes none', async () => {
  const { owner } = await limited({ agents: 1, storage_bytes: 30 })
  const first = await createAgent(owner, { name: 'One' })
  await expect(createAgent(owner, { name: 'Two' })).rejects.toMatchObject({ kind: 'limit-reached' })
  await deleteAgent(owner, first.id)
  await createAgent(owner, { name: 'Two' })
  const keyed = { ...file(1, 30), idempotencyKey: 'upload-1' }
  expect(await outcomes([storeFile(owner, keyed)])).toEqual(['ok'])
  expect(await outcomes([storeFile(owner, keyed), storeFile(owner, file(2, 1))])).toEqual(['ok', 'limit-reached'])
})

test('an override comes before the plan, null in it lifts a limit, and what is not named is unlimited', async () => {
  const [admin, team] = [await operator(), await createTeam(database)]
  const owner = await team.member('owner')
  await putPlan(admin, 'small', { name: 'Small', limits: { agents: 1, recipes: 1 } }, null)
  await setLimitsOf(admin, team.workspaceId, { plan: 'small', overrides: { agents: null } }, null)
  for (const name of ['One', 'Two']) await createAgent(owner, { name })
  await createRecipe(owner, recipe(1))
  await expect(createRecipe(owner, recipe(2))).rejects.toMatchObject({ kind: 'limit-reached' })
  const { limits, plan } = await getCurrentLimits(owner)
  expect([plan, limits.agents, limits.recipes]).toEqual(['small', { limit: null, used: 2 }, { limit: 1, used: 1 }])
  await expect(setLimitsOf(admin, team.workspaceId, { plan: 'none-such', overrides: {} }, null)).rejects.toMatchObject({
    kind: 'invalid',
  })
})

test('the engine goes by the lower of what the plan allows and what the workspace wants, also after a change of the plan', async () => {
  const [admin, team] = [await operator(), await createTeam(database)]
  const owner = await team.member('owner')
  const { workspaceId: id } = team
  await putPlan(admin, 'fast', { name: 'Fast', limits: { concurrent_runs: 8 } }, null)
  await setLimitsOf(admin, id, { plan: 'fast', overrides: {} }, null)
  expect(await allowedRuns(id)).toBe(8)
  await updateCurrentWorkspace(owner, { settings: { concurrent_executions: 3 } })
  expect(await allowedRuns(id)).toBe(3)
  await updateCurrentWorkspace(owner, { settings: { concurrent_executions: 20 } })
  expect(await allowedRuns(id)).toBe(8)
  await putPlan(admin, 'fast', { name: 'Fast', limits: { concurrent_runs: 5 } }, null)
  await tenancyService.tick(team.ctx)
  expect(await allowedRuns(id)).toBe(5)
  expect((await getCurrentLimits(owner)).limits.concurrent_runs).toEqual({ limit: 5, used: 0 })
  await setLimitsOf(admin, id, { plan: 'default', overrides: {} }, null)
  await updateCurrentWorkspace(owner, { settings: { concurrent_executions: null } })
  expect(await allowedRuns(id)).toBeUndefined()
})

test('a new workspace is under the default plan from its first moment on', async () => {
  const owner = await (await createTeam(database)).member('owner')
  await sql`update plans set limits = '{"concurrent_runs": 2}' where slug = 'default'`.execute(db)
  try {
    expect(await allowedRuns((await createWorkspace(owner, { name: 'New' })).id)).toBe(2)
  } finally {
    await sql`update plans set limits = '{}' where slug = 'default'`.execute(db)
  }
})
