import { z } from '@hono/zod-openapi'
import type { Json } from '../lib/json.ts'
import { modelWeight, operation, reply, type Operation, type RouteGroup } from '../lib/operation.ts'
import { pageOf, pageQuery } from '../lib/pagination.ts'
import { preferHeader, waitAskedFor } from '../lib/prefer.ts'
import {
  agentStats,
  agentTag,
  cloneAgent,
  createAgent,
  deleteAgent,
  executeAgent,
  getAgent,
  listAgents,
  updateAgent,
} from '../services/agents.service.ts'
import { answerStarted, endedInTime } from './started.ts'
import {
  Agent,
  AgentChanges,
  agentExample,
  AgentStats,
  CloneAgent,
  ExecuteAgent,
  NewAgent,
  StartedAgentRun,
} from './agents.schemas.ts'

const params = z.object({ agent: z.string().openapi({ description: 'Slug or id.' }) })
const { id, name, slug, description, system_prompt, model, tools, limits } = agentExample
const newAgentExample = { name, slug, description, system_prompt, model, tools, limits }
const location = { location: 'The address of the agent.' }

const update = (method: 'patch' | 'put'): Operation =>
  operation(
    {
      operationId: method === 'patch' ? 'updateAgent' : 'putAgent',
      method,
      path: '/{agent}',
      summary: method === 'patch' ? 'Change an agent' : 'Change an agent (as PATCH)',
      description:
        'What is not named stays. `model` and `tools` are replaced as a whole, limits one by one. Runs that have entered a step of the agent keep the version they began with.',
      access: 'agents:write',
      params,
      body: AgentChanges,
      bodyExample: { tools: ['now'], limits: { max_rounds: null } },
      responses: { 200: { description: 'The agent.', schema: Agent, example: agentExample } },
      etag: 'change',
      problems: ['not-found', 'conflict'],
    },
    async (ctx, { params: { agent }, body, request }) => {
      const updated = await updateAgent(ctx, agent, body, request.headers.get('if-match'))
      return reply(200, updated, { etag: agentTag(updated) })
    },
  )

export const agentsRoutes: RouteGroup = {
  prefix: '/api/agents',
  tag: 'Agents',
  description: 'Configured workers: a system prompt, a model, tools and limits.',
  operations: [
    operation(
      {
        operationId: 'createAgent',
        method: 'post',
        path: '/',
        summary: 'Make an agent',
        access: 'agents:write',
        idempotent: 'stored',
        body: NewAgent,
        bodyExample: newAgentExample,
        responses: { 201: { description: 'The agent.', schema: Agent, headers: location, example: agentExample } },
        etag: 'create',
        problems: ['conflict', 'limit-reached'],
      },
      async (ctx, { body }) => {
        const agent = await createAgent(ctx, body)
        return reply(201, agent, { location: `/api/agents/${agent.slug}`, etag: agentTag(agent) })
      },
    ),
    operation(
      {
        operationId: 'listAgents',
        method: 'get',
        path: '/',
        summary: 'List the agents of the workspace',
        access: 'agents:read',
        query: z.object(pageQuery),
        responses: {
          200: {
            description: 'Newest first.',
            schema: pageOf(Agent).openapi('AgentList'),
            example: { items: [agentExample], next_cursor: null },
          },
        },
      },
      async (ctx, { query }) => reply(200, await listAgents(ctx, query)),
    ),
    operation(
      {
        operationId: 'getAgent',
        method: 'get',
        path: '/{agent}',
        summary: 'Read an agent',
        access: 'agents:read',
        params,
        responses: { 200: { description: 'The agent.', schema: Agent, example: agentExample } },
        etag: 'read',
        problems: ['not-found'],
      },
      async (ctx, { params }) => {
        const agent = await getAgent(ctx, params.agent)
        return reply(200, agent, { etag: agentTag(agent) })
      },
    ),
    update('patch'),
    update('put'),
    operation(
      {
        operationId: 'deleteAgent',
        method: 'delete',
        path: '/{agent}',
        summary: 'Delete an agent',
        description: 'Steps that have begun go on with the agent they know; later ones fail with `agent-not-found`.',
        access: 'agents:write',
        params,
        responses: { 204: { description: 'The agent is deleted and its slug free again.' } },
        etag: 'change',
        problems: ['not-found'],
      },
      async (ctx, { params: { agent }, request }) => {
        await deleteAgent(ctx, agent, request.headers.get('if-match'))
        return reply(204)
      },
    ),
    operation(
      {
        operationId: 'executeAgent',
        method: 'post',
        path: '/{agent}/execute',
        summary: 'Ask an agent',
        description:
          'Queues a run of one step and answers at once, or with `Prefer: wait=30` once it has ended, however it ended; follow it at `/api/executions/{id}`. Who waits is refused at once where a budget is spent; otherwise the run waits for the budget. `Idempotency-Key` makes a repeated request answer the run it made before.',
        access: 'agents:execute',
        weight: modelWeight,
        idempotent: 'run',
        params,
        headers: z.object({
          'idempotency-key': z
            .string()
            .min(1)
            .max(200)
            .optional()
            .openapi({ description: 'The same key with the same request starts one run.', example: 'question-4711' }),
          ...preferHeader,
        }),
        body: ExecuteAgent,
        bodyExample: {
          prompt: 'What changed in this release?',
          context: { notes: 'Faster start; fewer dependencies.' },
        },
        responses: {
          200: endedInTime,
          202: {
            description: 'The queued run.',
            schema: StartedAgentRun,
            headers: { location: 'The address of the execution.' },
            example: {
              id: '01939f3d-0000-7b3e-9d1a-2f6b8c4d5e6f',
              execution_id: '01939f3d-0000-7b3e-9d1a-2f6b8c4d5e6f',
              agent_id: id,
              status: 'queued',
            },
          },
        },
        problems: ['not-found', 'conflict', 'budget-exceeded'],
      },
      async (ctx, { params: { agent }, body, headers, request }) => {
        const key = headers['idempotency-key']
        const run = await executeAgent(ctx, agent, {
          prompt: body.prompt ?? body.input ?? '',
          ...(body.context !== undefined && { context: body.context as Json }),
          ...(body.attachments && { attachments: body.attachments as Json }),
          ...(body.model && { model: body.model }),
          ...(key !== undefined && { idempotencyKey: key }),
          interactive: waitAskedFor(headers.prefer) !== null,
        })
        return answerStarted(ctx, run, headers.prefer, request)
      },
    ),
    operation(
      {
        operationId: 'getAgentStats',
        method: 'get',
        path: '/{agent}/stats',
        summary: 'Show what was measured of an agent',
        access: 'agents:read',
        params,
        query: z.object({
          days: z.coerce
            .number()
            .int()
            .min(1)
            .max(365)
            .default(30)
            .openapi({ description: 'How far back to look.', example: 30 }),
        }),
        responses: {
          200: {
            description: 'Measured values only; null where nothing was measured.',
            schema: AgentStats,
            example: {
              agent_id: id,
              days: 30,
              runs: 12,
              succeeded: 11,
              failed: 1,
              success_rate: 0.9166666666666666,
              latency_ms: { p50: 1840, p95: 4210 },
              model_calls: 19,
              failed_model_calls: 1,
              tokens: { input: 20510, cached_input: 4096, output: 3120, reasoning: 0 },
              cost_usd: '0.0266577',
            },
          },
        },
        problems: ['not-found'],
      },
      async (ctx, { params: { agent }, query: { days } }) => reply(200, await agentStats(ctx, agent, days)),
    ),
    operation(
      {
        operationId: 'cloneAgent',
        method: 'post',
        path: '/{agent}/clone',
        summary: 'Copy an agent',
        access: 'agents:write',
        idempotent: 'stored',
        params,
        body: CloneAgent,
        bodyOptional: true,
        bodyExample: { name: 'Researcher, careful' },
        responses: {
          201: {
            description: 'The copy.',
            schema: Agent,
            headers: location,
            example: { ...agentExample, slug: 'researcher-careful', name: 'Researcher, careful' },
          },
        },
        etag: 'create',
        problems: ['not-found', 'conflict', 'limit-reached'],
      },
      async (ctx, { params: { agent }, body }) => {
        const copy = await cloneAgent(ctx, agent, {
          ...(body.name !== undefined && { name: body.name }),
          ...(body.slug !== undefined && { slug: body.slug }),
        })
        return reply(201, copy, { location: `/api/agents/${copy.slug}`, etag: agentTag(copy) })
      },
    ),
  ],
}
