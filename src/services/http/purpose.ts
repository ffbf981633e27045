import type { EgressPurpose, ServiceContext } from '../../context.ts'

/** The context as one that tells the guard what its requests are for. */
export function forPurpose<C extends Pick<ServiceContext, 'egress'>>(ctx: C, by: EgressPurpose): C {
  const { egress } = ctx
  return { ...ctx, egress: (request, options) => egress(request, { ...options, by: { ...by, ...options?.by } }) }
}
