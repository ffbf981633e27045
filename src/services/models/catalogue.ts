import type { ServiceContext } from '../../context.ts'
import { sql } from 'kysely'
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

/** What is to be known of a call before it is made. */
export interface CallTerms {
  price: Price | null
  max_output_tokens: number | null
  /** The workspace has set a budget for anything. */
  bounded: boolean
  workflowBounded: boolean
}

/** Of a model that is not of the catalogue no price is known. Budgets are looked for by the way: a call pays no more for them. */
export async function findTerms(
  { db, actor }: Pick<ServiceContext, 'db' | 'actor'>,
  model: { provider: string; model: string } | null,
  workflow: string | null,
): Promise<CallTerms> {
  const { rows } = await sql<CallTerms & Price & { listed: boolean }>`
    select m.id is not null as listed, m.input_usd::text, m.cached_input_usd::text, m.cache_write_usd::text,
      m.output_usd::text, m.price_limit_tokens, m.max_output_tokens,
      exists (select from budgets where workspace_id = ${actor.workspaceId}::text::uuid and level < 4) as bounded,
      exists (select from workflows where id = ${workflow}::text::uuid and budget_usd is not null) as "workflowBounded"
    from (select 1) one
    left join models m on m.provider = ${model?.provider ?? ''} and m.model = ${model?.model ?? ''}`.execute(db)
  const { listed, max_output_tokens, bounded, workflowBounded, ...price } = rows[0]!
  return { price: listed ? price : null, max_output_tokens, bounded, workflowBounded }
}

export async function findPrice(
  { db }: Pick<ServiceContext, 'db'>,
  provider: string,
  model: string,
): Promise<Price | null> {
  const row = await db
    .selectFrom('models')
    .select(['input_usd', 'cached_input_usd', 'cache_write_usd', 'output_usd', 'price_limit_tokens'])
    .where('provider', '=', provider)
    .where('model', '=', model)
    .executeTakeFirst()
  return row ?? null
}

/** What the dearest models ask for. */
export async function dearestPrice({ db }: Pick<ServiceContext, 'db'>): Promise<Price> {
  const { rows } = await sql<Price>`
    select max(input_usd)::text as input_usd, max(cached_input_usd)::text as cached_input_usd,
      max(cache_write_usd)::text as cache_write_usd, max(output_usd)::text as output_usd,
      null::integer as price_limit_tokens from models`.execute(db)
  return rows[0]!
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
