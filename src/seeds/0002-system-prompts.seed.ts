import { sql } from 'kysely'
import type { Runtime } from '../context.ts'
import { seedHash } from './seed-hash.ts'
import type { Seed } from './seed.ts'
import { seedPrompts } from './system-prompts.data.ts'

export const systemPromptsSeed: Seed = {
  name: '0002-system-prompts',
  async run({ db }: Runtime) {
    const known = await db.selectFrom('system_prompts').select(['slug', 'seed_hash']).execute()
    const seeded = new Map(known.map((row) => [row.slug, row.seed_hash]))
    for (const { slug, ...content } of seedPrompts) {
      const values = { ...content, seed_hash: seedHash(content) }
      // What this version brings has been there, edited since or not.
      if (seeded.get(slug) === values.seed_hash) continue
      const row = seeded.has(slug) && (await findPrompt(db, slug))
      if (!row) {
        await db
          .insertInto('system_prompts')
          .values({ slug, ...values })
          .onConflict((conflict) => conflict.column('slug').doNothing())
          .execute()
        continue
      }
      const stored = seedHash({ name: row.name, purpose: row.purpose, content: row.content })
      if (row.seed_hash !== stored) continue
      await db
        .updateTable('system_prompts')
        .set({ ...values, updated_at: sql<Date>`app_now()` })
        .where('slug', '=', slug)
        // An edit since the row was read counts as an edit too.
        .where('updated_at', '=', row.updated_at)
        .execute()
    }
  },
}

const findPrompt = (db: Runtime['db'], slug: string) =>
  db.selectFrom('system_prompts').selectAll().where('slug', '=', slug).executeTakeFirst()
