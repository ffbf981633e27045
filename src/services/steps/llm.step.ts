import type { ModelAnswer, ModelMessage } from '../models/types.ts'
import type { LlmStep } from '../recipes/definition.ts'
import { StepError, type StepExecutor } from '../runs/step-executor.ts'
import { withFiles } from './attachments.ts'
import { modelRound, stepOutput } from './ask-model.ts'
import { dataNotice, userPrompt } from './prompt.ts'
import { parseStructured, repairPrompt } from './structured.ts'

/** One question to a model. With an output schema, an answer of another form is sent back once. */
export const llmStep: StepExecutor<LlmStep> = async (step, context) => {
  const schema = step.output_schema
  const own = step.system === undefined ? null : context.renderText(step.system)
  const given = step.context === undefined ? undefined : context.render(step.context)
  const question = withFiles(userPrompt(context.renderText(step.prompt), given), step.attachments, context)
  const hasData = given !== undefined || 'files' in question
  const system = [own, hasData ? dataNotice : null].filter((part) => part !== null).join('\n\n')
  const messages: ModelMessage[] = [question]
  const check = (answer: ModelAnswer) => (schema ? parseStructured(answer.text, schema) : null)

  for (let round = 0; ; round++) {
    const answer = await modelRound(
      context,
      `${round}.0`,
      {
        choice: step.model ?? null,
        system: system || null,
        messages: [...messages],
        tools: [],
        ...(schema && { output_schema: schema }),
      },
      { agentId: null, signal: context.signal, final: (each) => !check(each)?.faults },
    )
    const structured = check(answer)
    if (!structured?.faults) return stepOutput(answer, round + 1, structured?.data)
    if (round > 0) throw outputInvalid(structured.faults)
    messages.push({ role: 'assistant', text: answer.text, tool_calls: [] })
    messages.push({ role: 'user', text: repairPrompt(structured.faults) })
  }
}

/** Both rounds are recorded, so another attempt would read the same answers. */
export const outputInvalid = (faults: string): StepError =>
  new StepError('output-invalid', `The answer does not match output_schema: ${faults}`, { retryable: false })
