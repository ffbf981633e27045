import type { ServiceContext } from '../../context.ts'
import { StepError } from '../runs/step-executor.ts'

type Context = Pick<ServiceContext, 'config' | 'limiter' | 'actor' | 'log' | 'measures'>

/** Every workspace sends from the operator's address, so the operator says to whom. Throws StepError. */
export function checkRecipients({ config }: Pick<Context, 'config'>, to: readonly string[]): void {
  const domains = config.emailRecipientDomains
  const refused = to.find((each) => domains && !domains.includes(each.slice(each.lastIndexOf('@') + 1).toLowerCase()))
  if (refused !== undefined)
    throw new StepError('email_recipient_refused', `This installation sends no e-mail to '${refused.slice(0, 100)}'.`, {
      retryable: false,
    })
}

/** Counts the recipients of a message, all or none of them. Throws StepError where the workspace has had its share. */
export async function takeRecipients(ctx: Context, count: number): Promise<void> {
  const { limit, windowSeconds } = ctx.config.emailRecipientLimit
  const key = `email:${ctx.actor.workspaceId}`
  try {
    const left = await ctx.limiter.peek(key, limit, windowSeconds)
    if (!left.allowed || left.remaining < count) throw limited(ctx, count, left.resetSeconds)
    for (let n = 0; n < count; n++) {
      const taken = await ctx.limiter.take(key, limit, windowSeconds)
      if (!taken.allowed) throw limited(ctx, count, taken.resetSeconds)
    }
  } catch (error) {
    if (error instanceof StepError) throw error
    // As requests do, messages pass where the limiter is away.
    ctx.measures?.limiterFailures.add(1)
    ctx.log.error('The limiter failed; e-mail is sent unlimited.', { error })
  }
}

function limited({ config }: Context, count: number, resetSeconds: number): StepError {
  const { limit, windowSeconds } = config.emailRecipientLimit
  const detail = `A workspace sends e-mail to ${limit} recipients in ${windowSeconds} seconds.`
  return new StepError('email_limited', detail, { retryable: count <= limit, retryAfterMs: resetSeconds * 1000 })
}
