import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { uuidv7 } from '../../../src/lib/ids.ts'
import { privacyService } from '../../../src/services/privacy/tick.ts'
import type { Made, World } from './world.ts'

/** Makes a row in a world and gives its id. `given` are the values of the parameters that stand before it in the path. */
export type Maker = (world: World, given: Readonly<Record<string, string>>) => Promise<string>

const one = [{ id: 'one', kind: 'transform', value: 1 }]

async function aRecipe(world: World, steps: unknown[] = one): Promise<string> {
  return (await world.post('/api/workflow-recipes', { name: `Recipe ${world.mark}`, description: world.mark, steps }))
    .id
}
async function anExecution(world: World, steps?: unknown[]): Promise<string> {
  const recipe = await aRecipe(world, steps)
  return (await world.post(`/api/workflow-recipes/${recipe}/execute`, { input_data: { note: world.mark } })).id
}
const ended: Maker = async (world) => {
  const id = await anExecution(world)
  await world.work()
  return id
}
const failed: Maker = async (world) => {
  const id = await anExecution(world, [{ id: 'one', kind: 'transform', value: { $expr: '1 / input.nothing' } }])
  await world.work()
  return id
}
const planned: Maker = async (world) => {
  const { id } = await world.post('/api/workflows', { goal: `Write a line about ${world.mark}.` })
  await world.work()
  return id
}
const pinged: Maker = async (world) => {
  const schedule = await rows['schedule']!(world, {})
  await world.post(`/api/schedules/${schedule}/ping`, { period: '1d' })
  return schedule
}
/** Somebody who is in the workspace and calls nothing. */
const aMember: Maker = async ({ app, workspaceId, mark }) => {
  const id = uuidv7()
  await app.db
    .insertInto('users')
    .values({
      id,
      issuer: 'https://id.example',
      subject: id,
      email: `${mark}@people.example`,
      name: mark,
      claims_issued_at: new Date(),
    })
    .execute()
  await app.db.insertInto('memberships').values({ workspace_id: workspaceId, user_id: id, role: 'viewer' }).execute()
  return id
}
const exported: Maker = async (world) => {
  const { id } = await world.post('/api/privacy/exports')
  for (let round = 0; round < 20; round++) {
    await privacyService.tick(world.app.runtime)
    if ((await world.read(`/api/privacy/exports/${id}`))['status'] === 'ready') return id
  }
  throw new Error('The archive of the walk was not made.')
}
let service: Promise<string> | undefined
/** A service on this machine that takes every key. */
const outside = (): Promise<string> =>
  (service ??= new Promise((resolve) => {
    const server = createServer((_, response) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end('{"object":"list","data":[]}'),
    )
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`))
    server.unref()
  }))
const aProviderKey = async () => ({ api_key: 'the-key-of-the-provider', base_url: await outside() })
const anOrganization = ({ app, workspaceId, mark }: World) =>
  app.db
    .insertInto('org_workspaces')
    .values({ issuer: 'https://id.example', org_id: mark, workspace_id: workspaceId })
    .onConflict((c) => c.doNothing())
    .execute()
const itemsOf = async (world: World, path: string) => ((await world.read(path)) as unknown as { items: Made[] }).items
const slugOf = async (world: World) => (await world.read(`/api/workflow-recipes/${await world.row('recipe')}`))['slug']

/**
 * What makes the row that a path parameter names: by the name of the parameter, or by the path up to it where one name
 * means several things. A parameter that is missing here fails the walk.
 */
export const rows: Record<string, Maker> = {
  workspace: async (world) => world.workspaceId,
  api_key: async (world) => (await world.post('/api/api-keys', { name: world.mark, scopes: ['agents:read'] })).id,
  credential: async (world) =>
    (
      await world.post('/api/credentials', {
        slug: world.mark,
        name: world.mark,
        kind: 'bearer',
        hosts: [new URL(await outside()).host],
        fields: { token: `${world.mark}-secret` },
        test_url: await outside(),
      })
    ).id,
  provider: async (world) => {
    await world.owner.put('/api/user-api-keys/openai-compatible', await aProviderKey())
    return 'openai-compatible'
  },
  rule: async (world) =>
    (await world.post('/api/egress-rules', { action: 'deny', pattern: `${world.mark}.example` })).id,
  agent: async (world) =>
    (await world.post('/api/agents', { name: `Agent ${world.mark}`, system_prompt: `Speak of ${world.mark}.` })).id,
  recipe: (world) => aRecipe(world),
  version: async () => '1',
  step: async () => 'one',
  execution: (world) => anExecution(world),
  template: async () => 'feed-digest',
  workflow: planned,
  plan: async () => '1',
  replay: async (world) => {
    const recipe = await aRecipe(world)
    await world.post(`/api/workflow-recipes/${recipe}/execute`)
    await world.work()
    return (await world.post('/api/executions/replays', { recipe, last: 1 })).id
  },
  approval: async (world) => {
    const id = await anExecution(world, [{ id: 'ok', kind: 'approval', message: `Send ${world.mark}?` }])
    await world.work()
    return (await itemsOf(world, `/api/approvals?execution_id=${id}`))[0]!.id
  },
  schedule: async (world) =>
    (await world.post('/api/schedules', { recipe_id: await aRecipe(world), cron: '0 7 * * *' })).id,
  backfill: async (world, { schedule }) => {
    const at = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString()
    return (await world.post(`/api/schedules/${schedule}/backfills`, { from: at(72), to: at(1) })).id
  },
  token: async (world) => {
    const schedule = await rows['schedule']!(world, {})
    const { url } = await world.post(`/api/schedules/${schedule}/ping`, { period: '1d' })
    return String(url).split('/').at(-1)!
  },
  webhook: async (world) =>
    (await world.post('/api/webhooks', { recipe_id: await world.row('recipe'), name: world.mark })).id,
  '/api/webhooks/{webhook}/deliveries/{delivery}': async (world, { webhook }) => {
    // A sender that is refused leaves a line in the log, too.
    await world.app.app.request(`/api/webhooks/recipe/${webhook}`, { method: 'POST', body: '{}' })
    return (await itemsOf(world, `/api/webhooks/${webhook}/deliveries`))[0]!.id
  },
  subscription: async (world) =>
    (await world.post('/api/webhooks/subscriptions', { url: `https://hooks.example.com/${world.mark}` })).id,
  '/api/webhooks/subscriptions/{subscription}/deliveries/{delivery}': async (world, { subscription }) =>
    (await world.post(`/api/webhooks/subscriptions/${subscription}/test`)).id,
  member: aMember,
  user: aMember,
  invitation: async (world) =>
    (
      await world.post(`/api/workspaces/${world.workspaceId}/team/invitations`, {
        email: `guest-${world.mark}@people.example`,
        role: 'viewer',
        delivery: 'token',
      })
    ).id,
  role: async (world) => {
    const slug = `role-${world.mark}`
    const role = { slug, name: slug, permissions: ['agents:read'] }
    await world.post(`/api/workspaces/${world.workspaceId}/team/roles`, role)
    return slug
  },
  '/api/plans/{plan}': async ({ app }) => {
    const plan = { slug: 'walked', name: 'Walked' }
    await app.db
      .insertInto('plans')
      .values(plan)
      .onConflict((c) => c.doNothing())
      .execute()
    return plan.slug
  },
  budget: async (world) =>
    (await world.post('/api/budgets', { scope: { type: 'workspace' }, limit_usd: '25.00', window: 'month' })).id,
  entry: async (world) => {
    await world.row('api_key')
    return (await itemsOf(world, '/api/audit-logs'))[0]!.id
  },
  export: async (world) => (await world.post('/api/privacy/exports')).id,
  setting: async () => 'LOG_LEVEL',
  file: async (world) => (await world.post('/api/files?name=' + world.mark, { a: world.mark })).id,
}

/** Where an operation is for rows in a certain state: by operation and parameter. */
export const rowsOf: Record<string, Record<string, Maker>> = {
  followExecution: { execution: ended },
  downloadOutput: { execution: ended },
  replayExecution: { execution: ended },
  retryExecution: { execution: failed },
  resumeExecution: {
    execution: async (world) => {
      const id = await anExecution(world)
      await world.post(`/api/executions/${id}/pause`)
      return id
    },
  },
  downloadPrivacyExport: { export: exported },
  authorizeCredential: {
    credential: async (world) =>
      (
        await world.post('/api/credentials', {
          slug: `consent-${world.mark}`,
          kind: 'oauth2_authorization_code',
          hosts: [new URL(await outside()).host],
          fields: {
            authorization_url: 'https://login.example.com/authorize',
            token_url: 'https://login.example.com/token',
            client_id: world.mark,
          },
        })
      ).id,
  },
  getPing: { schedule: pinged },
  updatePing: { schedule: pinged },
  deletePing: { schedule: pinged },
  resumeSchedule: {
    schedule: async (world) => {
      const id = await rows['schedule']!(world, {})
      await world.post(`/api/schedules/${id}/pause`)
      return id
    },
  },
  // The delivery of an unsigned request holds nothing that could be done again.
  redeliverWebhook: {
    webhook: async (world) => {
      const recipe_id = await world.row('recipe')
      const hook = await world.post('/api/webhooks', { recipe_id, auth: { mode: 'url_token' } })
      const token = encodeURIComponent(String(hook['secret']))
      await world.app.app.request(`/api/webhooks/recipe/${hook.id}?token=${token}`, { method: 'POST' })
      return hook.id
    },
    delivery: async (world, { webhook }) => (await itemsOf(world, `/api/webhooks/${webhook}/deliveries`))[0]!.id,
  },
}

/** Where the example of the document is no body that works in any workspace, most of all where it names rows. */
export const bodies: Record<string, (world: World) => Promise<unknown> | unknown> = {
  executeRecipe: () => ({ input_data: {} }),
  updateRecipe: (world) => ({ description: `Changed ${world.mark}` }),
  saveRecipe: (world) => ({ description: `Changed ${world.mark}` }),
  updateCurrentWorkspace: () => ({ name: 'Another name' }),
  createRecipe: (world) => ({ name: `Recipe ${world.mark}`, steps: one }),
  createWorkflow: (world) => ({ goal: `Write a line about ${world.mark}.` }),
  testRecipeStep: () => ({ variables: {} }),
  createReplay: async (world) => {
    await ended(world, {})
    const recipe = await world.row('recipe')
    await world.post(`/api/workflow-recipes/${recipe}/execute`)
    await world.work()
    return { recipe, last: 1 }
  },
  replaceWorkflowPlan: () => ({ name: 'A plan', steps: one }),
  editWorkflowPlan: () => ({ steps: one, output: null }),
  replayExecution: () => ({}),
  decideApproval: () => ({ decision: 'approved' }),
  forecastNewSchedule: async (world) => ({ recipe_id: await world.row('recipe'), cron: '0 7 * * *' }),
  pauseSchedules: async (world) => ({ recipe_id: await slugOf(world) }),
  resumeSchedules: async (world) => ({ recipe_id: await slugOf(world) }),
  createSchedule: async (world) => ({ recipe_id: await aRecipe(world), cron: '0 7 * * *' }),
  createBackfill: () => {
    const at = (hours: number) => new Date(Date.now() - hours * 3_600_000).toISOString()
    return { from: at(72), to: at(1) }
  },
  createWebhook: async (world) => ({ recipe_id: await world.row('recipe') }),
  updateWebhook: () => ({ rate_limit: 120 }),
  transferOwnership: async (world) => ({ user_id: await world.row('member') }),
  putUserApiKey: aProviderKey,
  createBudget: async (world) => ({
    scope: { type: 'agent', id: await world.row('agent') },
    limit_usd: '5.00',
    window: 'day',
  }),
  setSystemSetting: () => ({ value: 'info' }),
  setWorkspaceLimits: () => ({ plan: 'default', overrides: { agents: 50 } }),
}

/** What a workspace has to have besides rows that paths name. */
export const needs: Record<string, (world: World) => Promise<unknown>> = {
  getOrganization: anOrganization,
  updateOrganization: anOrganization,
}

/** What is done to a whole workspace, of its own, before the operation is called in it. */
export const stages: Record<string, (world: World) => Promise<unknown>> = {
  restoreWorkspace: (world) => world.owner.del(`/api/workspaces/${world.workspaceId}`),
  // The last owner cannot go.
  leaveWorkspace: async (world) =>
    world.app.db
      .updateTable('memberships')
      .set({ role: 'owner' })
      .where('user_id', '=', await aMember(world, {}))
      .execute(),
}

/** Where an operation does not answer without. */
export const queries: Record<string, string> = { diffRecipeVersions: '?from=1&to=1' }
