import type { Flow } from './flow.ts'

/** Takes up the commands that wait for a run, in the order in which they came. Its owner calls it. */
export async function readInbox(flow: Flow): Promise<void> {
  const commands = await flow.runtime.db
    .selectFrom('run_inbox')
    .select(['id', 'kind', 'payload'])
    .where('run_id', '=', flow.run.id)
    .where('applied_at', 'is', null)
    .orderBy('created_at')
    .orderBy('id')
    .execute()
  for (const { id, kind, payload } of commands) {
    if (flow.appliedCommands.has(id)) continue
    const reason = payload['reason']
    switch (kind) {
      case 'cancel':
        // Taken up by the checkpoint that ends the run, as every command is: until then a successor must find it.
        flow.appliedCommands.add(id)
        flow.cancel(String(reason ?? 'canceled'))
        break
      case 'pause':
        flow.pausing ??= { id, reason: typeof reason === 'string' ? reason : null }
        break
      case 'resume':
        if (flow.pausing) take(flow, flow.pausing.id)
        flow.pausing = null
        take(flow, id)
        break
      case 'look':
        // What it is to see is stored already: whoever takes the run over looks of its own accord.
        take(flow, id)
        flow.resting.nudge()
        break
    }
  }
}

function take(flow: Flow, id: string): void {
  if (flow.appliedCommands.has(id)) return
  flow.appliedCommands.add(id)
  flow.writer.applied(id)
}
