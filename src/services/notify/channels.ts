import type { Address, Channel, Letter, Notice, TellingContext } from './channel.ts'
import { emailChannel } from './email.channel.ts'
import { logChannel } from './log.channel.ts'
import { webhookChannel } from './webhook.channel.ts'

const channels: readonly Channel[] = [logChannel, webhookChannel, emailChannel]

/** The notice as the channel of this address sends it. Null: it names none. */
export function writeLetter(address: Address, notice: Notice, context: TellingContext): Letter | null {
  for (const channel of channels) {
    const letter = channel.write(address, notice, context)
    if (letter) return letter
  }
  return null
}
