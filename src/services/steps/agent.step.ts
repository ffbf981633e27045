import { trace } from '@opentelemetry/api'
import { parseDuration } from '../../lib/duration.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { defaultMaxRounds, type AgentLimits } from '../agents/agent.ts'
import { findAgent } from '../agents/find.ts'
import { defaultAgentPrompt } from '../agents/default-prompt.ts'
import { forPurpose } from '../http/purpose.ts'
import type { ModelAnswer, ModelChoice, ModelMessage, ModelRequest, ToolCall } from '../models/types.ts'
import type { AgentStep } from '../recipes/definition.ts'
import { StepError, type StepContext, type StepExecutor } from '../runs/step-executor.ts'
import { failed, runTool, toolSpecs, type ToolOutcome } from '../tools/registry.ts'
import { withFiles } from './attachments.ts'
import { modelRound, stepOutput } from './ask-model.ts'
import { outputInvalid } from './llm.step.ts'
import { dataNotice, userPrompt } from './prompt.ts'
import { parseStructured, repairPrompt } from './structured.ts'

/** The agent as it was when the step was entered: edits made meanwhile are for later runs. */
type AgentSnapshot = {
  id: string
  slug: string
  version: number
  system_prompt: string | null
  model: ModelChoice | null
  tools: string[]
  limits: AgentLimits
}

/**
 * An agent answers a prompt: one model round at a time, each round and each tool call recorded before the next begins.
 * A resumed step walks the same way over the recorded results and goes on where they end.
 */
export const agentStep: StepExecutor<AgentStep> = async (step, given) => {
  const agent = await snapshotOf(step.agent, given)
  const context = { ...given, ctx: forPurpose(given.ctx, { agentId: agent.id }) }
  tellAgent(context, agent)
  const schema = step.output_schema
  const maxRounds = agent.limits.max_rounds ?? defaultMaxRounds
  const budget = agent.limits.max_output_tokens
  const signal = signalOf(agent.limits, context)
  const messages: ModelMessage[] = [
    withFiles(
      userPrompt(
        context.renderText(step.prompt),
        step.context === undefined ? undefined : context.render(step.context),
      ),
      step.attachments,
      context,
    ),
  ]
  const check = (answer: ModelAnswer) => (schema ? parseStructured(answer.text, schema) : null)
  const isFinal = (answer: ModelAnswer) => answer.tool_calls.length === 0 && !check(answer)?.faults
  let written = 0
  let repaired = false

  for (let round = 0; round < maxRounds; round++) {
    const request: ModelRequest = {
      choice: step.model ?? agent.model,
      system: [agent.system_prompt, dataNotice].filter(Boolean).join('\n\n'),
      messages: [...messages],
      tools: toolSpecs(agent.tools),
      ...(schema && { output_schema: schema }),
      ...(budget !== undefined && { max_output_tokens: budget - written }),
    }
    const answer = await withTimeout(signal, context, agent.limits, () =>
      modelRound(context, `${round}.0`, request, { agentId: agent.id, signal, final: isFinal }),
    )
    written += answer.usage.output_tokens ?? 0
    messages.push({
      role: 'assistant',
      text: answer.text,
      tool_calls: answer.tool_calls,
      ...(answer.continuation && { continuation: answer.continuation }),
    })
    if (answer.tool_calls.length > 0) {
      const results = await withTimeout(signal, context, agent.limits, () =>
        callTools(answer.tool_calls, round, agent, context, signal),
      )
      messages.push({ role: 'tool', results })
    } else {
      const structured = check(answer)
      if (!structured?.faults) return stepOutput(answer, round + 1, structured?.data)
      if (repaired) throw outputInvalid(structured.faults)
      repaired = true
      messages.push({ role: 'user', text: repairPrompt(structured.faults) })
    }
    if (budget !== undefined && written >= budget) {
      throw new StepError('output-budget-exceeded', `The agent wrote ${written} of at most ${budget} tokens.`, {
        retryable: false,
      })
    }
  }
  throw new StepError('max-rounds', `The agent gave no final answer within ${maxRounds} rounds.`, { retryable: false })
}

async function snapshotOf(ref: string, context: StepContext): Promise<AgentSnapshot> {
  const stored = context.state?.['agent']
  // Written below, by this function, in an earlier life of the step.
  if (stored !== undefined) return stored as unknown as AgentSnapshot
  const agent = await findAgent(context.ctx, ref)
  if (!agent) throw new StepError('agent-not-found', `There is no agent '${ref}'.`, { retryable: false })
  const { id, slug, version, model, tools, limits } = agent
  const prompt = agent.system_prompt ?? (await defaultAgentPrompt(context.ctx))
  const snapshot: AgentSnapshot = { id, slug, version, system_prompt: prompt, model, tools, limits }
  context.setState({ ...context.state, agent: snapshot as unknown as JsonObject })
  return snapshot
}

/** The step is the agent's run, in the words that tools for traces of models know. */
function tellAgent({ ctx }: StepContext, agent: AgentSnapshot): void {
  if (!ctx.trace) return
  trace.getSpan(ctx.trace)?.setAttributes({
    'gen_ai.operation.name': 'invoke_agent',
    'gen_ai.agent.id': agent.id,
    'gen_ai.agent.name': agent.slug,
    'gen_ai.agent.version': String(agent.version),
  })
}

/** In the model's order, one after the other: a later call may rely on what an earlier one did. */
async function callTools(
  calls: ToolCall[],
  round: number,
  agent: AgentSnapshot,
  context: StepContext,
  signal: AbortSignal,
): Promise<{ id: string; name: string; result: Json; is_error: boolean }[]> {
  const results = []
  for (const [index, call] of calls.entries()) {
    const key = `${round}.${index + 1}`
    const request = { name: call.name, input: call.input }
    const outcome = await context.effect<ToolOutcome>(key, 'tool', request, async (idempotencyKey) => {
      context.emit('tool.call', { call: key, id: call.id, ...request })
      const options = { signal, idempotencyKey, now: new Date(context.now), callId: call.id }
      // The list is checked here, not only by what is offered: a model may name a tool that it was never shown.
      const made = agent.tools.includes(call.name)
        ? await runTool(context.ctx, call.name, call.input, options)
        : failed('tool-not-allowed', `This agent may not call '${call.name.slice(0, 60)}'.`)
      context.emit('tool.result', { call: key, id: call.id, name: call.name, ...made })
      return made
    })
    results.push({ id: call.id, name: call.name, ...outcome })
  }
  return results
}

function signalOf(limits: AgentLimits, context: StepContext): AbortSignal {
  const timeoutMs = limits.timeout === undefined ? null : parseDuration(limits.timeout)
  return timeoutMs === null ? context.signal : AbortSignal.any([context.signal, AbortSignal.timeout(timeoutMs)])
}

/** Tells the agent's own time limit from an abort of the engine. */
async function withTimeout<T>(
  signal: AbortSignal,
  context: StepContext,
  limits: AgentLimits,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (signal.aborted && !context.signal.aborted) {
      throw new StepError('timeout', `The agent took longer than its limit of ${limits.timeout}.`)
    }
    throw error
  }
}
