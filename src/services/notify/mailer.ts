import type { ServiceContext } from '../../context.ts'
import { StepError } from '../runs/step-executor.ts'
import { sendOutbound, statusError } from '../steps/outbound.ts'
import type { TellingContext } from './channel.ts'

export interface Mail {
  to: string[]
  subject: string
  text: string
}

/** Hands a message over to what delivers it. Throws StepError. */
export type Mailer = (mail: Mail, idempotencyKey: string, context: TellingContext) => Promise<void>

/** How this installation sends e-mail: by its API where there is one, else by SMTP where the runtime can; null: not at all. */
export function mailerOf({ config, smtp }: Pick<ServiceContext, 'config' | 'smtp'>): Mailer | null {
  const { emailFrom: from, emailApiUrl: url, emailApiKey: key } = config
  if (from === null) return null
  if (url !== null && key !== null) return byApi(from, url, key.reveal())
  if (!smtp) return null
  return async (mail, idempotencyKey, { signal }) => {
    try {
      await smtp({ from, ...mail, idempotencyKey }, signal)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      const code = Number((error as { code?: unknown } | null)?.code)
      // 5xx is the server's last word, anything else may pass.
      throw new StepError('email_failed', `The mail server did not take the message${code ? ` (${code})` : ''}.`, {
        retryable: !(code >= 500),
        cause: error,
      })
    }
  }
}

/** `{from, to, subject, text}` with a bearer key, as Resend and servers that follow it take it. */
function byApi(from: string, url: string, key: string): Mailer {
  return async (mail, idempotencyKey, context) => {
    const headers = { authorization: `Bearer ${key}` }
    const body = { from, ...mail }
    const answer = await sendOutbound({ method: 'POST', url, headers, body, idempotencyKey }, undefined, context)
    if (answer.status < 200 || answer.status >= 300) throw statusError(answer, context)
  }
}
