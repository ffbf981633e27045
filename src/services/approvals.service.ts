export { decideApproval } from './approvals/decide.ts'
export { createApprovalLink, decideByLink, openApprovalLink } from './approvals/links.ts'
export { approvalPage, noApprovalPage } from './approvals/page.ts'
export { getApproval, listApprovals } from './approvals/read-approvals.ts'
