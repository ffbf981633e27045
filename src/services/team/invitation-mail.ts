import type { ServiceContext } from '../../context.ts'
import { issuersOf } from '../identity/issuers.ts'
import { checkRecipients, takeRecipients } from '../notify/mail-limits.ts'
import { mailerOf } from '../notify/mailer.ts'
import { StepError } from '../runs/step-executor.ts'
import type { Invitation } from './invitations.ts'

const timeoutMs = 15_000

/**
 * Sends the token to whom it is for, once the answer is on its way: no lock waits for a mail server. False where the
 * installation sends no e-mail there. One that is not delivered is in the log; the invitation can be sent again.
 */
export function mailInvitation(ctx: ServiceContext, invitation: Invitation, token: string, workspace: string): boolean {
  const mailer = mailerOf(ctx)
  if (!mailer) return false
  const to = [invitation.email]
  try {
    checkRecipients(ctx, to)
  } catch (error) {
    if (error instanceof StepError) return false
    throw error
  }
  const deliver = async () => {
    try {
      await takeRecipients(ctx, 1)
      const mail = { to, subject: subjectOf(workspace), text: textOf(ctx, invitation, token, workspace) }
      const telling = {
        ctx,
        runId: invitation.id,
        signal: AbortSignal.timeout(timeoutMs),
        log: () => {},
        renderText: (text: string) => text,
      }
      await mailer(mail, `invitation/${invitation.id}/${invitation.expires_at}`, telling)
    } catch (error) {
      const reason = error instanceof StepError ? error.message : error
      ctx.log.warn('An invitation could not be mailed.', { invitation_id: invitation.id, reason })
    }
  }
  ctx.defer(deliver())
  return true
}

/** A line break would begin another header. */
const subjectOf = (workspace: string) => `You are invited to ${workspace.replace(/\p{Cc}+/gu, ' ')}`

const textOf = (
  { config }: ServiceContext,
  { email, role, expires_at }: Invitation,
  token: string,
  workspace: string,
) => {
  const isSignedIn = issuersOf(config).length > 0
  const [path, body] = isSignedIn ? ['join', { token }] : ['accept', { token, email }]
  return `You are invited to the workspace "${workspace}" as ${role}, until ${expires_at}.

${isSignedIn ? 'Sign in as you do elsewhere, and send with your token:' : 'To accept, and to receive your API key, send:'}

  curl -X POST ${config.apiUrl}/api/invitations/${path} \\${isSignedIn ? "\n    -H 'authorization: Bearer YOUR TOKEN' \\" : ''}
    -H 'content-type: application/json' \\
    -d '${JSON.stringify(body).replaceAll("'", '\\u0027')}'

Whoever has this token and your address can accept in your place: pass neither on.
If you expected no invitation, do nothing.`
}
