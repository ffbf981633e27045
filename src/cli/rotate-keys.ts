import { parseConfig } from '../config.ts'
import { parseKeyRing } from '../runtime/cipher.ts'
import { readEnvironment } from '../runtime/node/environment.ts'
import { openNodeRuntime, type NodeRuntime } from '../runtime/node/index.ts'
import { loadOrCreateKeyRing } from '../runtime/node/key-ring.ts'
import { reportStartFault } from '../runtime/node/start-faults.ts'
import { resealAll } from '../services/sealing/reseal.ts'

/** `npm run rotate-keys`: seals every stored secret anew with the first key of the ring. Safe to stop and to repeat. */
try {
  const runtime = await openNodeRuntime(parseConfig(readEnvironment()))
  try {
    const firstKey = await firstKeyOf(runtime)
    const { resealed, failed } = await resealAll(runtime, firstKey, (done) => console.log(`${done} so far`))
    console.log(`${resealed} secrets sealed anew with the key "${firstKey}".`)
    if (failed.length > 0) {
      console.error(`${failed.length} texts are opened by no key of the ring, or signed by none, and stay as they are:`)
      for (const id of failed) console.error(`  ${id}`)
      process.exitCode = 1
    } else {
      console.log('The other keys of the ring are no longer needed.')
    }
  } finally {
    await runtime.close()
  }
} catch (error) {
  process.exitCode = reportStartFault(error)
}

async function firstKeyOf({ config, dataDir }: NodeRuntime): Promise<string> {
  const ring = config.credentialEncryptionKey?.reveal() ?? (await loadOrCreateKeyRing(dataDir)).keyRing
  return parseKeyRing(ring)[0]!.id
}
