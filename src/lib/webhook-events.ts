/** What an outbound webhook can be told of, as `type` of its messages. */
export const executionEventTypes = [
  'execution.succeeded',
  'execution.failed',
  'execution.canceled',
  'execution.timed_out',
] as const

/** Sent by nothing but a request to test a subscription. */
export const testEventType = 'webhook.test'
