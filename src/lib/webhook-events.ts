/** What an outbound webhook can be told of, as `type` of its messages. */
export const executionEventTypes = [
  'execution.succeeded',
  'execution.failed',
  'execution.canceled',
  'execution.timed_out',
] as const

/** What a budget is told of, each once in its window. */
export const budgetEventTypes = ['budget.threshold_reached', 'budget.exceeded'] as const

/** Sent by nothing but a request to test a subscription. */
export const testEventType = 'webhook.test'
