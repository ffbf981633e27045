/** What a workspace can set a budget for, in the order of the levels of their rows. */
export const scopeTypes = ['workspace', 'key', 'agent', 'recipe'] as const
export type ScopeType = (typeof scopeTypes)[number]

export type Scope = { type: ScopeType; id: string }

export const scopeOf = ({ level, scope_id }: { level: number; scope_id: string }): Scope => ({
  type: scopeTypes[level]!,
  id: scope_id,
})
