import { installConfiguredKey } from '../services/identity/admin-key.ts'
import { ensureFirstWorkspace } from '../services/identity/first-workspace.ts'
import type { Seed } from './seed.ts'

export const firstWorkspaceSeed: Seed = {
  name: '0001-first-workspace',
  async run(runtime) {
    await installConfiguredKey(runtime, await ensureFirstWorkspace(runtime))
  },
}
