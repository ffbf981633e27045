/** The few calls that the tests of a Worker make, over whatever `send` is. */
export function apiClient(send: (path: string, init: RequestInit) => Promise<Response>, key: string) {
  const call = async (method: string, path: string, body?: unknown) => {
    const response = await send(path, {
      method,
      headers: {
        authorization: `Bearer ${key}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text}`)
    return JSON.parse(text) as never
  }
  return {
    createRecipe: (recipe: object): Promise<{ id: string; slug: string }> =>
      call('POST', '/api/workflow-recipes', recipe),
    execute: async (recipe: string, input: object = {}): Promise<string> =>
      ((await call('POST', `/api/workflow-recipes/${recipe}/execute`, { input_data: input })) as { id: string }).id,
    execution: (id: string): Promise<Execution> => call('GET', `/api/executions/${id}`),
    executionsOf: async (recipeId: string): Promise<Execution[]> =>
      ((await call('GET', `/api/executions?recipe_id=${recipeId}`)) as { items: Execution[] }).items,
    removeSchedule: (recipe: string) => call('PATCH', `/api/workflow-recipes/${recipe}`, { cron_schedule: null }),
    cancel: (id: string) => call('POST', `/api/executions/${id}/cancel`),
  }
}

export interface Execution {
  id: string
  status: string
  output: unknown
  error: unknown
  trigger: { kind: string }
  started_at: string
  finished_at: string
}
