import { firstSignal } from '../../src/runtime/node/shutdown.ts'

// A process of its own for tests: says which signal came first, and then never gets done.
setInterval(() => {}, 1000)
const signaled = firstSignal()
console.log('waiting')
console.log(`first ${await signaled}`)
