import type { Bindings } from '../../../src/runtime/workers/bindings.ts'

declare global {
  namespace Cloudflare {
    interface GlobalProps {
      mainModule: typeof import('./worker.ts')
    }
    interface Env extends Bindings {
      /** An alarm worker whose pass the test makes. */
      PROBE: Bindings['DISPATCHER']
    }
  }
}
