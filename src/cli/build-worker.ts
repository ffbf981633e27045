import './build-assets.ts'
import { bundleWorker } from './build/worker.ts'

// What wrangler runs before it builds, develops or deploys: the pages' files and the Worker itself.
await bundleWorker()
