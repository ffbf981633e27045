import { lockDataDir } from '../../src/runtime/node/data-dir-lock.ts'

// A process of its own for tests: takes the lock of the folder that it is given, says so, and holds it until killed.
// It keeps nothing of the lock, and collects garbage (--expose-gc) before it speaks: a lock must not need its holder's care.
lockDataDir(process.argv[2]!)
const { gc } = globalThis
if (!gc) throw new Error('Start it with --expose-gc.')
for (let round = 0; round < 5; round += 1) {
  await new Promise((resolve) => setTimeout(resolve))
  gc()
}
console.log('locked')
setInterval(() => {}, 1000)
