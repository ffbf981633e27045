import { sql } from 'kysely'
import type { Runtime } from '../context.ts'
import { jsonb } from '../db/json.ts'
import { uuidv7 } from '../lib/ids.ts'
import { seedModels, type SeedModel } from './models.data.ts'
import { seedHash } from './seed-hash.ts'
import type { Seed } from './seed.ts'

export const modelsSeed: Seed = {
  name: '0003-models',
  async run({ db }: Runtime) {
    const known = await db.selectFrom('models').select(['provider', 'model', 'seed_hash']).execute()
    const seeded = new Map(known.map((row) => [`${row.provider}/${row.model}`, row.seed_hash]))
    for (const model of seedModels) {
      const content = contentOf(model)
      const seed_hash = seedHash(content)
      // What this version brings has been there, edited since or not.
      if (seeded.get(`${model.provider}/${model.model}`) === seed_hash) continue
      const values = {
        name: model.name,
        context_window: model.context_window,
        max_output_tokens: model.max_output_tokens,
        capabilities: jsonb(model.capabilities),
        input_usd: model.input_usd,
        cached_input_usd: model.cached_input_usd,
        cache_write_usd: model.cache_write_usd,
        output_usd: model.output_usd,
        price_limit_tokens: model.price_limit_tokens,
        seed_hash,
      }
      const row = seeded.has(`${model.provider}/${model.model}`) && (await findModel(db, model))
      if (!row) {
        await db
          .insertInto('models')
          .values({ id: uuidv7(), provider: model.provider, model: model.model, ...values })
          .onConflict((conflict) => conflict.columns(['provider', 'model']).doNothing())
          .execute()
      } else if (row.seed_hash === seedHash(contentOf(row))) {
        await db
          .updateTable('models')
          .set({ ...values, updated_at: sql<Date>`app_now()` })
          .where('id', '=', row.id)
          // An edit since the row was read counts as an edit too.
          .where('updated_at', '=', row.updated_at)
          .execute()
      }
    }
  },
}

const findModel = (db: Runtime['db'], { provider, model }: SeedModel) =>
  db.selectFrom('models').selectAll().where('provider', '=', provider).where('model', '=', model).executeTakeFirst()

/** What the hash covers; `2.50` from the database is the `2.5` that was written. */
function contentOf(model: SeedModel): object {
  const price = (text: string | null) => (text === null ? null : text.includes('.') ? text.replace(/\.?0+$/, '') : text)
  return {
    name: model.name,
    context_window: model.context_window,
    max_output_tokens: model.max_output_tokens,
    capabilities: model.capabilities,
    prices: [model.input_usd, model.cached_input_usd, model.cache_write_usd, model.output_usd].map(price),
    price_limit_tokens: model.price_limit_tokens,
  }
}
