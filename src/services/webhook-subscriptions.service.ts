export { emitEvents, type WorkspaceEvent } from './subscriptions/emit.ts'
export { eventTypes } from './subscriptions/event-types.ts'
export { getDelivery, listDeliveries, redeliver, testSubscription } from './subscriptions/deliveries.ts'
export {
  createSubscription,
  deleteSubscription,
  getSubscription,
  listSubscriptions,
  rotateSubscriptionSecret,
  updateSubscription,
} from './subscriptions/manage.ts'
export { webhooksService, webhooksTick } from './subscriptions/tick.ts'
export { subscriptionTag, type Subscription } from './subscriptions/view.ts'
