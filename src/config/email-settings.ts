import { optional, setting } from './setting.ts'
import * as t from './value-types.ts'

/** What notify steps send e-mail with. */
export const emailSettings = {
  EMAIL_FROM: optional(t.emailSender, {
    category: 'E-mail',
    example: 'Automatos <no-reply@example.org>',
    description: 'Sender of the e-mail that notify steps send. Without it they fail with email_not_configured.',
  }),
  EMAIL_API_URL: optional(t.webUrl, {
    category: 'E-mail',
    example: 'https://api.resend.com/emails',
    description:
      'Takes POST {from, to, subject, text} with a bearer key and an Idempotency-Key, as Resend does. Wins over SMTP_URL.',
  }),
  EMAIL_API_KEY: optional(t.secretText, {
    category: 'E-mail',
    secret: true,
    description: 'Key for EMAIL_API_URL.',
  }),
  SMTP_URL: optional(t.smtpUrl, {
    category: 'E-mail',
    secret: true,
    runtimes: 'server',
    example: 'smtps://user:password@mail.example.org:465',
    description:
      'Mail server. smtps begins with TLS; smtp turns to TLS by STARTTLS and sends no password without, unless the host is local.',
  }),
  EMAIL_RECIPIENT_LIMIT: setting(t.rate, {
    category: 'E-mail',
    default: '200/hour',
    description: 'Recipients that a workspace may send e-mail to; beyond it notify steps fail with email_limited.',
  }),
  EMAIL_RECIPIENT_DOMAINS: optional(t.domainList, {
    category: 'E-mail',
    example: 'example.org,example.com',
    description:
      'Domains that notify steps may send e-mail to, without their subdomains; others fail with email_recipient_refused. Unset: any.',
  }),
}
