import type { ServiceContext } from '../../context.ts'
import type { RunState } from '../../db/tables/runs.table.ts'
import { AppError } from '../../lib/errors.ts'
import type { Json } from '../../lib/json.ts'
import { requireRoom } from '../budgets/refuse.ts'
import { faultsOfChoice } from '../models/choice.ts'
import type { ModelChoice } from '../models/types.ts'
import type { RecipeDefinition } from '../recipes/definition.ts'
import { completeHandles } from '../files/open-handle.ts'
import { startRun } from '../runs/index.ts'
import { getAgent } from './find.ts'

export interface StartedAgentRun {
  id: string
  execution_id: string
  agent_id: string
  status: RunState
  replayed?: boolean
}

/** A run of one step, by the same engine as every recipe: it survives a crash, can be followed and canceled. */
export async function executeAgent(
  ctx: ServiceContext,
  ref: string,
  input: {
    prompt: string
    context?: Json
    attachments?: Json
    model?: ModelChoice
    idempotencyKey?: string
    /** Somebody waits for the answer: a budget that is spent refuses it at once, and fails what it stops on the way. */
    interactive?: boolean
  },
): Promise<StartedAgentRun> {
  const agent = await getAgent(ctx, ref)
  const errors = input.model ? faultsOfChoice(input.model, '/model') : []
  if (errors.length > 0) throw new AppError('invalid', 'The model cannot be asked like this.', { errors })
  const attachments =
    input.attachments === undefined ? undefined : await completeHandles(ctx, input.attachments, '/attachments')
  const definition: RecipeDefinition = {
    name: agent.name,
    steps: [
      {
        kind: 'agent',
        id: 'agent',
        agent: agent.id,
        // The caller's text is data of the run, not a template: what it contains is not rendered.
        prompt: '{{ input.prompt }}',
        ...(input.context !== undefined && { context: { $expr: 'input.context' } }),
        ...(attachments !== undefined && { attachments: { $expr: 'input.attachments' } }),
        ...(input.model && { model: input.model }),
      },
    ],
  }
  const run = await startRun(ctx, {
    definition,
    trigger: {
      kind: 'agent',
      agent_id: agent.id,
      agent_slug: agent.slug,
      ...(input.interactive && { interactive: true }),
    },
    ...(input.interactive && { admit: () => requireRoom(ctx, agent.id) }),
    input: {
      prompt: input.prompt,
      ...(input.context !== undefined && { context: input.context }),
      ...(attachments !== undefined && { attachments }),
    },
    ...(input.idempotencyKey !== undefined && { idempotencyKey: input.idempotencyKey }),
  })
  return {
    id: run.id,
    execution_id: run.id,
    agent_id: agent.id,
    status: run.status,
    ...(run.replayed && { replayed: true }),
  }
}
