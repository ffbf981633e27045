import type { ServiceContext } from '../../context.ts'
import type { Price } from './cost.ts'

type Context = Pick<ServiceContext, 'db'>

export async function findPrice({ db }: Context, provider: string, model: string): Promise<Price | null> {
  const row = await db
    .selectFrom('models')
    .select(['input_usd', 'cached_input_usd', 'output_usd', 'price_limit_tokens'])
    .where('provider', '=', provider)
    .where('model', '=', model)
    .executeTakeFirst()
  return row ?? null
}
