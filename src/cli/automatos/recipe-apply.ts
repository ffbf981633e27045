import type { Recipe, RecipeInput, RecipePatch } from '../../../clients/typescript/src/index.ts'
import { canonicalJson } from '../../lib/canonical.ts'
import { diffJson, type Change } from '../../lib/json-diff.ts'
import { isObject, type Json, type JsonObject } from '../../lib/json.ts'
import { CliError } from './cli-error.ts'
import { exitCodes } from './exit-codes.ts'
import type { RecipeFile } from './recipe-files.ts'
import type { Session } from './session.ts'

type Api = Session['api']

export interface Applied {
  file: string
  slug: string | null
  name: string
  outcome: 'created' | 'updated' | 'unchanged'
  version: number
  warnings: { pointer: string; detail: string }[]
}

interface Plan {
  file: RecipeFile
  /** What is there now; null: it will be created. */
  current: Recipe | null
  /** What has to change; null: nothing. */
  patch: JsonObject | null
}

/** Brings the server's recipes to what the files say. Nothing is written unless all of them are valid. */
export async function applyRecipes(api: Api, files: readonly RecipeFile[], dryRun: boolean): Promise<Applied[]> {
  await checkAll(api, files)
  const plans: Plan[] = []
  for (const file of files) plans.push(await planFor(api, file))
  const applied: Applied[] = []
  for (const plan of plans) applied.push(dryRun ? foresee(plan) : await carryOut(api, plan))
  return applied
}

/** Every fault of every file, the server's and that of two files for one recipe. */
async function checkAll(api: Api, files: readonly RecipeFile[]): Promise<void> {
  const faults = []
  const seen = new Map<string, string>()
  for (const file of files) {
    const { data } = await api.validateRecipe({ body: withoutSchema(file.recipe) })
    faults.push(...data.errors.map(file.locate))
    const name = keyOf(file.recipe)
    if (name === null) continue
    const other = seen.get(name)
    if (other !== undefined) faults.push(file.locate({ pointer: '/slug', detail: `is the same recipe as in ${other}` }))
    seen.set(name, file.file)
  }
  if (faults.length > 0) throw new CliError('Nothing is applied: not every recipe is valid.', exitCodes.invalid, faults)
}

function keyOf({ slug, name }: JsonObject): string | null {
  if (typeof slug === 'string') return `slug ${slug}`
  return typeof name === 'string' ? `name ${name}` : null
}

/** What applying the file would change. */
export async function compareWithServer(api: Api, file: RecipeFile): Promise<{ current: Recipe; changes: Change[] }> {
  const current = await findCurrent(api, file)
  if (!current)
    throw new CliError(
      `The server has no recipe ${String(file.recipe['slug'] ?? file.recipe['name'])}.`,
      exitCodes.notFound,
    )
  const { data: definition } = await api.exportRecipe({ path: { recipe: current.id } })
  const { cron_schedule: _cron, timezone: _zone, ...document } = withoutSchema(file.recipe)
  const wanted = { ...document, slug: current.slug }
  return { current, changes: diffJson(definition as unknown as JsonObject, wanted) }
}

async function planFor(api: Api, file: RecipeFile): Promise<Plan> {
  const current = await findCurrent(api, file)
  if (!current) return { file, current, patch: null }
  const { data: definition } = await api.exportRecipe({ path: { recipe: current.id } })
  return { file, current, patch: patchFor(current, definition as unknown as JsonObject, withoutSchema(file.recipe)) }
}

/** By slug, or where the file has none by its very name. */
async function findCurrent(api: Api, { recipe, file }: Pick<RecipeFile, 'recipe' | 'file'>): Promise<Recipe | null> {
  const { slug, name } = recipe
  if (typeof slug === 'string') return getOrNull(api, slug)
  if (typeof name !== 'string' || name === '') return null
  const { paginate } = await import('../../../clients/typescript/src/index.ts')
  const same = []
  for await (const item of paginate((cursor) => api.listRecipes({ query: { q: name, limit: 200, cursor } })))
    if (item.name === name) same.push(item)
  if (same.length > 1) {
    const slugs = same.map((item) => item.slug).join(', ')
    throw new CliError(
      `${file}: ${same.length} recipes are named "${name}" (${slugs}). Give the file a slug.`,
      exitCodes.conflict,
    )
  }
  return same[0] ? getOrNull(api, same[0].id) : null
}

async function getOrNull(api: Api, recipe: string): Promise<Recipe | null> {
  const { ApiError } = await import('../../../clients/typescript/src/index.ts')
  try {
    return (await api.getRecipe({ path: { recipe } })).data
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return null
    throw error
  }
}

// `name` and `steps` are in every recipe; of the others what a file leaves out is taken away.
const removable = ['description', 'inputs', 'output', 'settings']

/** The change that makes the recipe equal to the file; null where it is. A schedule that the file does not name stays. */
function patchFor(current: Recipe, definition: JsonObject, wanted: JsonObject): JsonObject | null {
  const { cron_schedule, timezone, ...document } = wanted
  const patch: JsonObject = {}
  if (canonicalJson({ ...document, slug: current.slug }) !== canonicalJson(definition)) {
    Object.assign(patch, document)
    for (const name of removable) if (!(name in document) && name in definition) patch[name] = null
    // Settings are merged member by member, the rest is replaced.
    if (isObject(document['settings']))
      patch['settings'] = mergePatchTo(definition['settings'] ?? {}, document['settings'])
  }
  const sameSchedule =
    cron_schedule === undefined ||
    (cron_schedule === current.cron_schedule && (cron_schedule === null || (timezone ?? 'UTC') === current.timezone))
  if (!sameSchedule)
    Object.assign(patch, { cron_schedule, ...(cron_schedule !== null && { timezone: timezone ?? 'UTC' }) })
  return Object.keys(patch).length === 0 ? null : patch
}

/** The merge patch (RFC 7396) that turns one value into the other. */
function mergePatchTo(from: Json, to: Json): Json {
  if (!isObject(from) || !isObject(to)) return to
  const patch: JsonObject = {}
  for (const name of Object.keys(from)) if (!(name in to)) patch[name] = null
  for (const [name, value] of Object.entries(to))
    patch[name] = mergePatchTo((from as JsonObject)[name] ?? null, value as Json)
  return patch
}

function foresee({ file, current, patch }: Plan): Applied {
  const { slug, name } = file.recipe
  const outcome = current === null ? 'created' : patch === null ? 'unchanged' : 'updated'
  const version = current === null ? 1 : current.version + (patch === null || !('steps' in patch) ? 0 : 1)
  return {
    file: file.file,
    slug: current?.slug ?? (slug as string | undefined) ?? null,
    name: String(name),
    outcome,
    version,
    warnings: [],
  }
}

async function carryOut(api: Api, { file, current, patch }: Plan): Promise<Applied> {
  const about = (recipe: Recipe, outcome: Applied['outcome']) => {
    const { slug, name, version, warnings = [] } = recipe
    return { file: file.file, slug, name, outcome, version, warnings }
  }
  if (current === null) {
    // Safe: the server has found it valid.
    const { data } = await api.createRecipe({ body: withoutSchema(file.recipe) as unknown as RecipeInput })
    return about(data, 'created')
  }
  if (patch === null) return about(current, 'unchanged')
  const { data } = await api.updateRecipe({ path: { recipe: current.id }, body: patch as RecipePatch })
  const touchedSchedule = 'cron_schedule' in patch
  return about(data, data.version === current.version && !touchedSchedule ? 'unchanged' : 'updated')
}

/** Names the schema for editors; belongs to the file. */
function withoutSchema(recipe: JsonObject): JsonObject {
  const rest = { ...recipe }
  delete rest['$schema']
  return rest
}
