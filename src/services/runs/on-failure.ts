import { sql } from 'kysely'
import { toJsonText } from '../../db/json.ts'
import type { Json, JsonObject } from '../../lib/json.ts'
import { LanguageError } from '../../lib/language/scope.ts'
import { keepSecrets } from '../../lib/language/secrets.ts'
import { renderText } from '../../lib/language/template.ts'
import { renderTree } from '../../lib/language/tree.ts'
import type { StoredNotice } from '../notify/failure-notices.ts'
import type { FailureNotice } from '../recipes/definition.ts'
import type { Flow } from './flow.ts'
import { startOnFailure } from './on-failure-recipe.ts'

/**
 * `settings.on_failure`: a line in the server's log, a run of another recipe, and notices. The notices are only written
 * down here, before the checkpoint that ends the run, and sent by a tick that finds it ended: so whoever is slow to take
 * one delays no run, and a crash in between leaves none out.
 */
export async function reportFailure(flow: Flow, state: 'failed' | 'timed_out', error: JsonObject): Promise<void> {
  const policy = flow.definition.settings?.on_failure
  if (!policy) return
  if (policy.log) flow.ctx.log.error('A run has failed.', { recipe_id: flow.run.recipe_id, state, failure: error })
  const report = reportOf(flow, state, error)
  // By the input of the failed run, too: who gets it may have to do its work in another way.
  if (policy.recipe !== undefined)
    await startOnFailure(flow, policy.recipe, {
      ...report,
      execution: { ...report.execution, input: flow.run.input },
    })
  const notices = (policy.notify ?? []).map((notice) => written(flow, notice, report, error))
  const hook: StoredNotice | null = policy.webhook
    ? { message: '', webhook: { ...policy.webhook, url: [policy.webhook.url] }, body: report }
    : null
  // The webhook is number 0, whatever else there is: its key is the same as ever.
  const all = [hook, ...notices]
  if (all.every((notice) => notice === null)) return
  await flow.confirmLease()
  await flow.read(() => store(flow, state, all))
}

/** Written again after a crash, it says what is true then; what has been sent stays as it was. */
async function store({ run, runtime }: Flow, state: string, notices: (StoredNotice | null)[]): Promise<void> {
  await sql`
    insert into failure_notices (run_id, generation, number, workspace_id, state, notice)
    select ${run.id}::text::uuid, ${run.generation}::integer, n - 1, ${run.workspace_id}::text::uuid, ${state}::text, notice
    from jsonb_array_elements(${toJsonText(notices as unknown as Json)}::text::jsonb) with ordinality as e(notice, n)
    where notice <> 'null'::jsonb
    on conflict (run_id, generation, number) do update set state = excluded.state, notice = excluded.notice
      where failure_notices.attempts = 0`.execute(runtime.db)
}

/** The notice with its templates rendered. What cannot be rendered is said in our own words: the failure is news all the same. */
function written(flow: Flow, notice: FailureNotice, report: JsonObject, error: JsonObject): StoredNotice | null {
  const { log, webhook, email, message, data } = notice
  const plain = `${flow.definition.name}: ${String(error['detail'])}`
  const scope = { ...flow.scope(flow.root), error }
  const or = <T>(otherwise: T, render: () => T): T => {
    try {
      return render()
    } catch (fault) {
      if (!(fault instanceof LanguageError)) throw fault
      flow.log('warn', `A notice of the failure could not be rendered: ${fault.message}`)
      return otherwise
    }
  }
  // An address in words of ours would be somebody else's.
  const address = or(null, () => ({
    ...(log && { log }),
    ...(webhook && { webhook: { ...webhook, url: keepSecrets(renderText(webhook.url, scope)) } }),
    ...(email && { email: { ...email, to: email.to.map((each) => renderText(each, scope)) } }),
  }))
  if (!address) return null
  return {
    ...address,
    ...(email && {
      email: { to: address.email?.to ?? [], subject: or(plain, () => renderText(email.subject, scope)) },
    }),
    message: message === undefined ? plain : or(plain, () => renderText(message, scope)),
    data: data === undefined ? report : or<Json>(report, () => renderTree(data, scope)),
  }
}

/** What is told of a failed run. */
function reportOf(flow: Flow, state: 'failed' | 'timed_out', error: JsonObject) {
  return {
    event: `execution.${state}`,
    execution: {
      id: flow.run.id,
      recipe_id: flow.run.recipe_id,
      recipe_version: flow.run.recipe_version,
      recipe: flow.definition.name,
      status: state,
      trigger: flow.run.trigger,
      error,
      started_at: flow.run.started_at.toISOString(),
    },
  }
}
