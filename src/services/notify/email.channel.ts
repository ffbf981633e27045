import { StepError } from '../runs/step-executor.ts'
import type { Channel } from './channel.ts'
import { checkRecipients, takeRecipients } from './mail-limits.ts'
import { mailerOf } from './mailer.ts'

const address = /^[^\s@<>,;:"()[\]\\]+@[^\s@<>,;:"()[\]\\]+$/
const longestSubject = 500

/** A plain text message through whatever the installation sends e-mail with. */
export const emailChannel: Channel = {
  write({ email }, { message }, context) {
    if (!email) return null
    const to = email.to.map((each) => context.renderText(each).trim())
    const wrong = to.find((each) => !address.test(each) || each.length > 320)
    if (wrong !== undefined)
      throw new StepError('email_invalid', `'${wrong.slice(0, 100)}' is no address.`, { retryable: false })
    // A line break would begin another header.
    const subject = context
      .renderText(email.subject)
      .replace(/\p{Cc}+/gu, ' ')
      .trim()
      .slice(0, longestSubject)
    const mailer = mailerOf(context.ctx)
    if (!mailer) {
      const detail =
        context.ctx.platform === 'workers'
          ? 'This installation sends no e-mail: set EMAIL_FROM, EMAIL_API_URL and EMAIL_API_KEY. There is no SMTP on Workers.'
          : 'This installation sends no e-mail: set EMAIL_FROM and either SMTP_URL, or EMAIL_API_URL and EMAIL_API_KEY.'
      throw new StepError('email_not_configured', detail, { retryable: false })
    }
    checkRecipients(context.ctx, to)
    return {
      kind: 'notify',
      request: { to, subject, text: message },
      async send(idempotencyKey) {
        await takeRecipients(context.ctx, to.length)
        await mailer({ to, subject, text: message }, idempotencyKey, context)
        return { channel: 'email', to }
      },
    }
  },
}
