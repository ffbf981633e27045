export { exportAuditLogs } from './audit/export.ts'
export { getAuditLog, listAuditLogs } from './audit/read.ts'
export { verifyAuditLogs } from './audit/verify.ts'
