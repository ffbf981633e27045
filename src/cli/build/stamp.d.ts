export const stampFile: string
export function currentStamp(): string
export function isBuilt(): boolean
