import postgres from 'postgres'
import { expect, test } from 'vitest'
import { openDatabase, prepare, withEmptyDatabase } from '../../bench/database.ts'
import { rowsLookedAt } from '../../bench/plans/page.ts'
import { Recorder } from '../../bench/plans/recorder.ts'
import { deliverNotices } from '../../src/services/notify/failure-notices.ts'
import { deliverAlerts } from '../../src/services/schedules/deliver-alerts.ts'
import { deliverDue } from '../../src/services/subscriptions/deliver.ts'
import { createServiceContext } from '../support/service-context.ts'

/** Of each outbox: messages that are done with and those that wait, half of them of one workspace. */
const done = 30_000
const waiting = 10_000
/** What a pass takes of each line, and what it passes over on its way. */
const most = 1_500

test('a pass over an outbox reads in proportion to the lines in which messages wait, not to the messages', async () => {
  const costly: string[] = []
  await withEmptyDatabase('outboxes', async (url) => {
    const schema = openDatabase(url, 1)
    await prepare(schema)
    await schema.destroy()
    const client = postgres(url, { max: 1, onnotice() {} })
    await fill(client)
    await client.end()
    const recorder = new Recorder(url)
    try {
      const ctx = { ...(await createServiceContext(recorder)), db: recorder.db }
      const runtime = { ...ctx, egress: async () => new Response(null, { status: 204 }) }
      const passes = { deliverNotices, deliverAlerts, deliverDue }
      for (const [name, pass] of Object.entries(passes)) {
        const recorded = await recorder.record(
          () => pass(runtime),
          (statement) => /^\s*with recursive lines/.test(statement),
        )
        expect(recorded, name).toHaveLength(1)
        const looked = rowsLookedAt(recorded[0]!)
        if (looked > most) costly.push(`${name}: ${looked} rows\n${recorded[0]!.text}`)
      }
    } finally {
      await recorder.db.destroy()
    }
  })
  expect(costly).toEqual([])
}, 120_000)

async function fill(client: postgres.Sql): Promise<void> {
  await client.unsafe(`
    insert into workspaces (id, slug, name) select gen_random_uuid(), 'w-' || n, 'One of many' from generate_series(1, 10) n;
    create temp table mine as select id, row_number() over (order by id) - 1 as place from workspaces;
    create temp table messages as
      select n, gen_random_uuid() as id, m.id as workspace_id, n > ${done} as waits, now() - (n || ' seconds')::interval as at
      from generate_series(1, ${done + waiting}) n
      join mine m on m.place = case when n % 2 = 0 then 0 else n % 11 end;

    insert into schedule_events (id, workspace_id, schedule_id, type, data, delivery, next_attempt_at)
      select id, workspace_id, gen_random_uuid(), 'schedule.parked', '{}', case when waits then 'pending' else 'delivered' end,
        case when waits then at end
      from messages;

    insert into runs (id, workspace_id, state, trigger, input, created_at, finished_at)
      select id, workspace_id, 'failed', '{"kind": "api"}', '{}', at, at from messages;
    insert into failure_notices (run_id, generation, number, workspace_id, state, notice, delivery, next_attempt_at)
      select id, 1, 1, workspace_id, 'failed', '{"log": "warn", "message": "It failed."}',
        case when waits then 'pending' else 'sent' end, case when waits then at end
      from messages;

    insert into webhook_subscriptions (id, workspace_id, name, url, events, secret)
      select id, id, 'Mine', 'https://receiver.test/', '["*"]', 'whsec_MDEyMzQ1Njc4OWFiY2RlZg==' from mine;
    insert into webhook_deliveries (id, subscription_id, workspace_id, event_type, event_key, body, status, next_attempt_at)
      select id, workspace_id, workspace_id, 'execution.failed', n::text, '{}', case when waits then 'pending' else 'delivered' end,
        case when waits then at end
      from messages;
    analyze`)
}
