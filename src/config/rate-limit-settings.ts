import { optional, setting } from './setting.ts'
import * as t from './value-types.ts'

export const rateLimitSettings = {
  RATE_LIMIT_DEFAULT: setting(t.rate, {
    category: 'Rate limits',
    default: '60/minute',
    description: 'Requests a client address may make without a valid credential.',
  }),
  RATE_LIMIT_AUTHENTICATED: setting(t.rate, {
    category: 'Rate limits',
    default: '600/minute',
    description: 'Requests a key or a user may make, unless the key has a limit of its own.',
  }),
  RATE_LIMIT_WORKSPACE: optional(t.rate, {
    category: 'Rate limits',
    example: '6000/minute',
    description:
      'Requests that all keys and users of a workspace may make together. Unset: each has its own limit alone.',
  }),
}
