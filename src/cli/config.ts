import { resolveConfig } from '../config.ts'
import { readEnvironment } from '../runtime/node/environment.ts'
import { reportStartFault } from '../runtime/node/start-faults.ts'

/** `npm run config`: what is in effect and why. Secrets are `***`. */
try {
  const { config, effective } = resolveConfig(readEnvironment())
  const nameWidth = Math.max(...effective.map(({ variable }) => variable.length))
  const sourceWidth = 'environment'.length
  for (const { variable, value, source } of effective) {
    console.log(`${variable.padEnd(nameWidth)}  ${source.padEnd(sourceWidth)}  ${value}`.trimEnd())
  }
  for (const warning of config.warnings) console.error(`warning: ${warning}`)
} catch (error) {
  process.exitCode = reportStartFault(error)
}
