import { sql } from 'kysely'
import type { Runtime } from '../../context.ts'
import type { JsonObject } from '../../lib/json.ts'
import { executionEventTypes } from '../../lib/webhook-events.ts'
import { emitEvents } from './emit.ts'

export const announceBatch = 200

interface EndedRow {
  run_id: string
  workspace_id: string
  recipe_id: string | null
  recipe_version: number | null
  recipe: string | null
  trigger: JsonObject
  usage: JsonObject
  created_at: Date
  started_at: Date | null
  type: string
  seq: number
  data: JsonObject
  ended_at: Date
}

/**
 * Turns ends of runs into deliveries. A run that somebody had subscribed to when it was made stands in a small index from
 * the commit that ends it until this has told of it, in one transaction with the deliveries: nothing to lose in
 * between, no cursor, and any number of processes may do it at once. Answers how many runs it has told of.
 */
export async function announceEnds({ db }: Pick<Runtime, 'db'>): Promise<number> {
  return db.transaction().execute(async (tx) => {
    const due = await tx
      .selectFrom('runs')
      .select('id')
      .whereRef('announced_generation', '<', 'generation')
      .where('finished_at', 'is not', null)
      .orderBy('finished_at')
      .limit(announceBatch)
      .forUpdate()
      .skipLocked()
      .execute()
    if (due.length === 0) return 0
    const ids = sql.join(due.map(({ id }) => sql`${id}::text::uuid`))
    // A run that was taken up again before it was told of has more than one end.
    const { rows } = await sql<EndedRow>`
      select r.id as run_id, r.workspace_id, r.recipe_id, r.recipe_version,
        coalesce(w.name, r.definition->>'name') as recipe, r.trigger, r.usage, r.created_at, r.started_at,
        e.type, e.seq, e.data, e.created_at as ended_at
      from runs r
      left join workflow_recipes w on w.id = r.recipe_id
      join run_events e on e.run_id = r.id and e.seq > coalesce(r.announced_seq, 0)
      where r.id in (${ids}) and e.type in (${sql.join(executionEventTypes)})
      order by e.created_at, r.id`.execute(tx)
    await emitEvents(tx, rows.map(toEvent))
    await sql`
      update runs set announced_generation = generation, announced_seq = last_seq where id in (${ids})`.execute(tx)
    return due.length
  })
}

const toEvent = (row: EndedRow) => ({
  workspaceId: row.workspace_id,
  type: row.type,
  key: `${row.run_id}/${row.seq}`,
  at: row.ended_at,
  recipeId: row.recipe_id,
  runId: row.run_id,
  since: row.created_at,
  data: {
    execution: {
      id: row.run_id,
      status: row.type.slice('execution.'.length),
      recipe_id: row.recipe_id,
      recipe_version: row.recipe_version,
      recipe: row.recipe,
      trigger: row.trigger,
      error: errorOf(row.data),
      usage: row.usage,
      created_at: row.created_at.toISOString(),
      started_at: row.started_at?.toISOString() ?? null,
      finished_at: row.ended_at.toISOString(),
    },
  } satisfies JsonObject,
})

/** What the event tells of why: a failure's error, or why it was canceled. */
function errorOf(data: JsonObject): JsonObject | null {
  const { error, reason } = data
  if (typeof error === 'object' && error !== null && !Array.isArray(error)) return error
  return typeof reason === 'string' ? { kind: 'canceled', detail: reason } : null
}
