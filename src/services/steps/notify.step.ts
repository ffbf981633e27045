import type { NotifyStep } from '../recipes/definition.ts'
import { StepError, type StepExecutor } from '../runs/step-executor.ts'
import { writeLetter } from '../notify/channels.ts'

/** Tells somebody, once as far as the receiver can tell a repeat: it carries the same Idempotency-Key. */
export const notifyStep: StepExecutor<NotifyStep> = async (step, context) => {
  const notice = {
    message: context.renderText(step.message),
    data: step.data === undefined ? undefined : context.render(step.data),
  }
  const letter = writeLetter(step, notice, context)
  if (!letter) throw new StepError('internal', 'The step names no channel.', { retryable: false })
  return context.effect('0.0', letter.kind, letter.request, (key) => letter.send(key), { final: () => true })
}
