import type { AgentStep, HttpStep, LlmStep, NotifyStep, ToolStep } from '../recipes/definition.ts'
import type { StepExecutor } from '../runs/step-executor.ts'
import { agentStep } from './agent.step.ts'
import { httpStep } from './http.step.ts'
import { llmStep } from './llm.step.ts'
import { notifyStep } from './notify.step.ts'
import { toolStep } from './tool.step.ts'

/** The kinds of step that reach outside; all others are the engine's own. */
export const stepExecutors: {
  agent: StepExecutor<AgentStep>
  llm: StepExecutor<LlmStep>
  http: StepExecutor<HttpStep>
  tool: StepExecutor<ToolStep>
  notify: StepExecutor<NotifyStep>
} = { agent: agentStep, llm: llmStep, http: httpStep, tool: toolStep, notify: notifyStep }
