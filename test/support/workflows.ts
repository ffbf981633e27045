import type { Runtime } from '../../src/context.ts'
import { engineOf, runsService } from '../../src/services/runs/index.ts'
import { workflowsTick } from '../../src/services/workflows.service.ts'

/** What a process does for workflows: runs what is ready and takes workflows further, until nothing is left to do. */
export async function workOff(runtime: Runtime): Promise<void> {
  for (let round = 0; round < 30; round++) {
    const { done } = await runsService.tick(runtime)
    await engineOf(runtime).idle()
    const ticked = await workflowsTick(runtime)
    if (done === 0 && ticked.done === 0) return
  }
  throw new Error('There is no end to it.')
}
