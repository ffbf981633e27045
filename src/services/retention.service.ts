export { getRetention, retentionTag, updateRetention } from './retention/policy.ts'
export { retentionService } from './retention/tick.ts'
