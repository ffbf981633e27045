import { AppError } from './errors.ts'
import type { Operation, RouteGroup } from './operation.ts'

/** The operation with the requirement that holds for it, its own or its group's. */
export function withRequirement({ requires }: Pick<RouteGroup, 'requires'>, operation: Operation): Operation {
  return operation.requires || !requires ? operation : { ...operation, requires }
}

/** What is served of it: itself, or where its requirement is not met a refusal that says what to configure. */
export function available(group: Pick<RouteGroup, 'requires'>, operation: Operation): Operation {
  const { requires, params: _, query: __, headers: ___, body: ____, ...rest } = withRequirement(group, operation)
  if (!requires || requires.met) return operation
  // Without its input: what was sent is not looked at where nothing can be done with it.
  return {
    ...rest,
    handler: () => {
      throw new AppError('not-configured', requires.detail)
    },
  }
}
