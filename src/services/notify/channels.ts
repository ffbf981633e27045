import type { Channel } from './channel.ts'
import { emailChannel } from './email.channel.ts'
import { logChannel } from './log.channel.ts'
import { webhookChannel } from './webhook.channel.ts'

export const channels: readonly Channel[] = [logChannel, webhookChannel, emailChannel]
