const id = '01939f3c-5c2a-7b3e-9d1a-2f6b8c4d5e6f'
const executionId = '01939f3d-0b1e-7c44-8f2a-7a1d3e5c9b02'
const planningId = '01939f3c-5c2b-7f10-a3c1-0d4e6f8a2b13'
const recipeId = '01939f3c-6d90-7a21-b7e5-4c2f0a9d8e71'
const agentId = '01939f30-2a4c-7b11-9e3d-5f7a1c8b6d20'
const goal = 'Read https://news.example/feed.xml and summarize the first 5 items.'

const definition = {
  name: goal,
  steps: [
    {
      id: 'fetch',
      kind: 'http',
      name: 'Read https://news.example/feed.xml',
      request: { method: 'GET', url: 'https://news.example/feed.xml' },
      parse: 'feed',
    },
    {
      id: 'summarize',
      kind: 'agent',
      agent: 'summarizer',
      prompt: 'Summarize the first 5 items.',
      context: { fetch: { $expr: 'steps.fetch.output.body.items' } },
    },
  ],
  output: { $expr: 'steps.summarize.output.text' },
}
const workflow = {
  id,
  name: goal,
  goal,
  context: null,
  agents: null,
  tools: null,
  model: null,
  approval: 'required',
  budget_usd: '0.5',
  status: 'awaiting_approval',
  error: null,
  recipe_id: recipeId,
  plan: 1,
  replans: 0,
  attention: [],
  planning_execution_id: planningId,
  execution_id: null,
  cost_usd: '0.0021',
  progress: null,
  created_by: 'key:01939f3c-0000-7000-8000-000000000000',
  approved_by: null,
  created_at: '2026-11-22T08:00:00.000Z',
  updated_at: '2026-11-22T08:00:04.000Z',
  planned_at: '2026-11-22T08:00:04.000Z',
  approved_at: null,
  finished_at: null,
  version: 2,
}
const running = {
  ...workflow,
  status: 'running',
  execution_id: executionId,
  progress: {
    execution_id: executionId,
    purpose: 'run',
    status: 'running',
    steps_finished: 1,
    steps_known: 2,
    current: ['summarize'],
    started_at: '2026-11-22T08:05:00.000Z',
  },
  approved_by: workflow.created_by,
  approved_at: '2026-11-22T08:05:00.000Z',
}
const assignment = {
  step_id: 'summarize',
  agent_id: agentId,
  agent_slug: 'summarizer',
  chosen_by: 'similarity',
  considered: [{ agent_slug: 'summarizer', similarity: 0.4216, load: 0 }],
}
const plan = {
  workflow_id: id,
  number: 1,
  source: 'planner',
  definition,
  assignments: [assignment],
  attention: [],
  failed: null,
  recipe_id: recipeId,
  recipe_version: 1,
  planning_execution_id: planningId,
  execution_id: null,
  created_by: workflow.created_by,
  created_at: '2026-11-22T08:00:04.000Z',
}
const paused = { reason: 'Maintenance', paused_by: workflow.created_by, paused_at: '2026-11-22T08:00:00.000Z' }

export const examples = {
  create: { goal, budget_usd: 0.5 },
  workflow,
  running,
  canceled: {
    ...workflow,
    status: 'canceled',
    error: { kind: 'canceled', detail: 'Canceled through the API.' },
    finished_at: '2026-11-22T08:06:00.000Z',
  },
  planning: {
    ...workflow,
    status: 'planning',
    plan: null,
    recipe_id: null,
    cost_usd: '0',
    planned_at: null,
    version: 1,
  },
  plan,
  editedPlan: { ...plan, number: 2, source: 'edit', recipe_version: 2 },
  planMembers: { name: definition.name, steps: definition.steps, output: definition.output },
  paused,
  result: {
    workflow_id: id,
    status: 'succeeded',
    output: 'The harbour bridge closes for repairs on Monday.',
    output_execution_id: executionId,
    steps: [
      {
        plan: 1,
        execution_id: executionId,
        path: 'summarize',
        step_id: 'summarize',
        kind: 'agent',
        status: 'succeeded',
        attempts: 1,
        agent: { id: agentId, slug: 'summarizer', version: 3 },
        assignment,
        models: [{ provider: 'openai', model: 'gpt-6.1-terra', calls: 1, simulated: false }],
        cost_usd: '0.00031',
        error: null,
        started_at: '2026-11-22T08:05:00.400Z',
        finished_at: '2026-11-22T08:05:02.100Z',
      },
    ],
  },
  stats: {
    days: 30,
    paused: null,
    total: 12,
    by_status: { planning: 0, awaiting_approval: 1, running: 1, succeeded: 8, failed: 2, canceled: 0 },
    success_rate: 0.8,
    planning_ms: { p50: 3120, p95: 5904 },
    duration_ms: { p50: 41200, p95: 301000 },
    replans: 1,
    edited_plans: 3,
    mean_steps: 3.4,
    cost_usd: '0.0912',
    today: { created: 2, succeeded: 1, failed: 0, canceled: 0 },
    trend: [{ day: '2026-11-22', created: 2, succeeded: 1, failed: 0, canceled: 0 }],
  },
}
