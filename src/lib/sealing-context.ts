/** Binds a sealed secret to its row: copied to another row or workspace, it does not open. */
export const sealingContext = (workspaceId: string, id: string): string => `credentials:${workspaceId}:${id}`
