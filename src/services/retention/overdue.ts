import { sql, type RawBuilder } from 'kysely'
import type { Config } from '../../config.ts'
import { effectiveDays, type RetentionField } from './policy.ts'

/** What of a table is over: rows `x` of a workspace `w`, with a time that an index has behind the workspace. */
export interface Overdue {
  table: string
  time: string
  field: RetentionField
  /** Of one pass. */
  most: number
}

/**
 * The expression `due`: workspaces with anything to delete, how far back each keeps (`until`), and what each may delete in
 * this pass (`share`). All get the same, so that none waits until the backlog of another is gone; of more workspaces than
 * rows of a pass chance takes some. Each is asked for its oldest by the index: an `exists` the planner would rather answer
 * by reading the whole table.
 */
export const dueWorkspaces = ({ table, time, field, most }: Overdue, config: Config) => sql`
  due as materialized (
    select w.id, o.until, greatest(1, ${most}::integer / count(*) over ())::integer as share
    from workspaces w
    left join retention_policies p on p.workspace_id = w.id
    cross join lateral (select app_now() - ${effectiveDays(field, config)} * interval '1 day' as until) o
    cross join lateral (
      select from ${sql.table(table)} x
      where x.workspace_id = w.id and ${sql.ref(`x.${time}`)} <= o.until
      order by ${sql.ref(`x.${time}`)} limit 1
    ) oldest
    order by random() limit ${most}::integer
  )`

/** The share of each workspace `d` of `due`: the columns of its oldest rows. What somebody holds is left to a later pass. */
export const sharesOf = ({ table, time }: Overdue, columns: RawBuilder<unknown>) => sql`
  select o.* from due d cross join lateral (
    select ${columns} from ${sql.table(table)} x
    where x.workspace_id = d.id and ${sql.ref(`x.${time}`)} <= d.until
    order by ${sql.ref(`x.${time}`)} limit d.share
    for update of x skip locked
  ) o`

/**
 * The expression `weighed` over `candidates`, with their `id`, `workspace_id`, `at` and `weight`: in turn of their workspaces,
 * the oldest first, as many as weigh no more than `most` together. A single one may weigh more.
 */
export const weighed = (most: number) => sql`
  turns as (
    select id, weight, row_number() over (partition by workspace_id order by at, id) as turn from candidates
  ), sums as (
    select id, sum(weight) over (order by turn, id) as sum, row_number() over (order by turn, id) as place from turns
  ), weighed as (
    select id from sums where place = 1 or sum <= ${most}::integer
  )`
