export { budgetTag, type Budget } from './budgets/budget.ts'
export { getBudget, listBudgets } from './budgets/read.ts'
export { scopeTypes } from './budgets/scope.ts'
export { createBudget, deleteBudget, updateBudget } from './budgets/write.ts'
