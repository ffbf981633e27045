import type { Fault } from '../../lib/errors.ts'
import { findProvider, offlineProvider, providerIds } from './providers.ts'
import type { ModelChoice } from './types.ts'

/** What is wrong with a choice that its schema cannot see: names and combinations that no call could be made with. */
export function faultsOfChoice(choice: ModelChoice, pointer: string): Fault[] {
  return [
    ...faultsOfTarget(choice, pointer),
    ...(choice.fallbacks ?? []).flatMap((fallback, index) => {
      const at = `${pointer}/fallbacks/${index}`
      if (fallback.provider === offlineProvider) {
        return [{ pointer: `${at}/provider`, detail: 'the simulated model never stands in for a real one' }]
      }
      return faultsOfTarget(fallback, at)
    }),
  ]
}

type Target = Pick<ModelChoice, 'provider' | 'model' | 'base_url' | 'credential'>

function faultsOfTarget({ provider, base_url, credential }: Target, pointer: string): Fault[] {
  const faults: Fault[] = []
  if (provider !== offlineProvider && !findProvider(provider)) {
    faults.push({ pointer: `${pointer}/provider`, detail: `must be one of ${providerIds.join(', ')}` })
  } else if (base_url !== undefined && provider !== 'openai-compatible') {
    faults.push({ pointer: `${pointer}/base_url`, detail: 'is for provider openai-compatible only' })
  }
  if (credential !== undefined && base_url === undefined) {
    faults.push({ pointer: `${pointer}/credential`, detail: 'is for base_url only' })
  }
  return faults
}
