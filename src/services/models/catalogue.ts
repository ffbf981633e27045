import type { ServiceContext } from '../../context.ts'
import { newestFirst } from '../../db/keyset.ts'
import { byCreation, toPage, type Page, type PageRequest } from '../../lib/pagination.ts'
import type { Price } from './cost.ts'
import { findProvider } from './providers.ts'

/** A model of the catalogue. Prices are US dollars per million tokens; null = not known. */
export interface CatalogueModel extends Price {
  provider: string
  model: string
  name: string
  context_window: number | null
  max_output_tokens: number | null
  capabilities: string[]
  /** Whether this server has access to the provider. */
  available: boolean
}

type Context = Pick<ServiceContext, 'db'>

export async function findPrice({ db }: Context, provider: string, model: string): Promise<Price | null> {
  const row = await db
    .selectFrom('models')
    .select(['input_usd', 'cached_input_usd', 'cache_write_usd', 'output_usd', 'price_limit_tokens'])
    .where('provider', '=', provider)
    .where('model', '=', model)
    .executeTakeFirst()
  return row ?? null
}

export async function listModels(
  { db, config }: Pick<ServiceContext, 'db' | 'config'>,
  page: PageRequest & { provider?: string | undefined },
): Promise<Page<CatalogueModel>> {
  const { provider } = page
  const models = db
    .selectFrom('models')
    .selectAll()
    .$if(provider !== undefined, (query) => query.where('provider', '=', provider!))
  const rows = await newestFirst(models, page).execute()
  return toPage(rows, page.limit, byCreation, (row) => ({
    provider: row.provider,
    model: row.model,
    name: row.name,
    context_window: row.context_window,
    max_output_tokens: row.max_output_tokens,
    capabilities: row.capabilities,
    input_usd: row.input_usd,
    cached_input_usd: row.cached_input_usd,
    cache_write_usd: row.cache_write_usd,
    output_usd: row.output_usd,
    price_limit_tokens: row.price_limit_tokens,
    available: (findProvider(row.provider)?.connection(config) ?? null) !== null,
  }))
}
