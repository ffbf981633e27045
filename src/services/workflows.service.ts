export { createWorkflow, type NewWorkflow } from './workflows/create-workflow.ts'
export {
  approveWorkflow,
  cancelWorkflow,
  deleteWorkflow,
  duplicateWorkflow,
  editPlan,
  updateWorkflow,
} from './workflows/control.ts'
export { eventIdPattern, followWorkflow, seenUpTo, type WorkflowEvent } from './workflows/events.ts'
export { pauseWorkspace, resumeWorkspace } from './workflows/pause.ts'
export { getPlan, getResult, getWorkflow, listActive, listPlans, listWorkflows } from './workflows/read-workflows.ts'
export { workflowStats } from './workflows/stats.ts'
export { workflowsTick } from './workflows/tick.ts'
export { planTag, workflowTag } from './workflows/view.ts'
