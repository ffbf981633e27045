/** Binds a sealed secret to its row: copied to another row or workspace, it does not open. */
export const sealingContext = (workspaceId: string, id: string): string => `credentials:${workspaceId}:${id}`
/** Of what an authorization server has given for a credential. */
export const tokensContext = (workspaceId: string, id: string): string => `${sealingContext(workspaceId, id)}:tokens`
/** Of a provider's key that a workspace has brought along. */
export const userKeyContext = (workspaceId: string, id: string): string => `user_api_keys:${workspaceId}:${id}`
