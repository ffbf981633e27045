export {
  createWebhook,
  deleteWebhook,
  getWebhook,
  listWebhooks,
  rotateWebhookSecret,
  updateWebhook,
} from './webhooks/manage.ts'
export { expiryService } from './webhooks/expire.ts'
export { listReceipts } from './webhooks/receipts.ts'
export { receiveWebhook, redeliverReceipt } from './webhooks/receive.ts'
export { webhookTag, type Webhook } from './webhooks/view.ts'
export { waitForWebhookRun } from './webhooks/wait.ts'
