import type { Channel } from './channel.ts'

/** A line in the log of the server, and in the run's own. */
export const logChannel: Channel = {
  write({ id, log }, { message, data }, context) {
    if (log === undefined) return null
    const fields = { step: id, ...(data !== undefined && { data }) }
    return {
      kind: 'notify',
      request: { log, message, ...fields },
      async send() {
        context.ctx.log[log](message, fields)
        context.log(log, message, data === undefined ? {} : { data })
        return { channel: 'log' }
      },
    }
  },
}
