import type { ServiceContext } from '../../context.ts'

/** The system prompt of agents that have none of their own; editable, seeded as `agent-default`. */
export async function defaultAgentPrompt({ db }: Pick<ServiceContext, 'db'>): Promise<string | null> {
  const row = await db
    .selectFrom('system_prompts')
    .select('content')
    .where('slug', '=', 'agent-default')
    .executeTakeFirst()
  return row?.content ?? null
}
