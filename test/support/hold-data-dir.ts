import { lockDataDir } from '../../src/runtime/node/data-dir-lock.ts'

// A process of its own for tests: takes the lock of the folder that it is given, says so, and holds it until killed.
lockDataDir(process.argv[2]!)
console.log('locked')
setInterval(() => {}, 1000)
