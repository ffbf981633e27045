import { sql } from 'kysely'
import type { Runtime, TickReport } from '../../context.ts'
import { countedDelete } from '../retention/figures.ts'
import { dueWorkspaces, sharesOf, weighed, type Overdue } from '../retention/overdue.ts'

const old: Overdue = { table: 'replays', time: 'finished_at', field: 'replays_days', most: 100 }
/** Reports of all comparisons of a pass together, which go with them. One comparison may have more. */
const mostReports = 2_000

/** Deletes comparisons that ended long enough ago, each with its reports. */
export async function expireReplays({ db, config }: Pick<Runtime, 'db' | 'config'>): Promise<TickReport> {
  const columns = sql`x.id, x.workspace_id, x.finished_at as at, x.total as weight`
  const done = await countedDelete(db, 'replays', {
    before: sql`${dueWorkspaces(old, config)},
      candidates as materialized (${sharesOf(old, columns)}), ${weighed(mostReports)},`,
    deleting: sql`delete from replays where id in (select id from weighed) returning workspace_id`,
  })
  return { done, more: done > 0 }
}
