import { stat, writeFile } from 'node:fs/promises'
import type { Command } from 'commander'
import type { RecipeChange } from '../../../../clients/typescript/src/index.ts'
import { isObject, type Json, type JsonObject } from '../../../lib/json.ts'
import { CliError } from '../cli-error.ts'
import { exitCodes } from '../exit-codes.ts'
import { followToEnd, waitForOutput } from '../follow.ts'
import { parseLimit, showPage, takeItems, type ListOptions } from '../pages.ts'
import { collectInput, toInput } from '../recipe-input.ts'
import { addCommand, addGroup, type Outcome, type Session } from '../session.ts'
import { localTime, oneLine, truncate } from '../text.ts'
import { wholeNumber } from '../whole-number.ts'

interface RunOptions {
  input?: string[]
  inputFile?: string
  stateKey?: string
  idempotencyKey?: string
  follow?: boolean
  wait?: boolean
}
interface DiffOptions {
  from?: number
  to?: number
  exitCode?: boolean
}

export function addRecipeCommands(program: Command, { run }: Outcome): void {
  const recipe = addGroup(program, 'recipe', 'Definitions of steps, kept in versions.')

  addCommand(recipe, 'list', 'List recipes, newest first.', ['recipe list', 'recipe list --search digest --json'])
    .option('-s, --search <text>', 'part of the name, slug or description')
    .option('-n, --limit <n>', 'how many at most', parseLimit, 50)
    .action(run<[], ListOptions & { search?: string }>(listRecipes))

  addCommand(
    recipe,
    'apply <path...>',
    'Create or update recipes from YAML or JSON files, folders or - for standard input.',
    [
      'recipe apply digest.yaml',
      'recipe apply recipes/ --dry-run',
      'automatos recipe export digest | automatos recipe apply - --url http://127.0.0.1:9000',
    ],
  )
    .alias('import')
    .option('--dry-run', 'check the files and say what would be done')
    .action(run<[string[]], { dryRun?: boolean }>(apply))

  addCommand(recipe, 'run <recipe>', 'Start a run of a recipe.', [
    'recipe run digest --input feed_url=https://example.org/feed.xml --follow',
    'recipe run digest --input-file input.json --wait --json | jq .output',
  ])
    .option('-i, --input <name=value>', 'one input; may be repeated', collectInput)
    .option('--input-file <file>', 'inputs as a YAML or JSON object; - for standard input')
    .option('-f, --follow', 'show the run while it goes; the exit code is that of the run')
    .option('-w, --wait', 'wait and print the output alone; the exit code is that of the run')
    .option('--state-key <key>', 'runs with the same key share what `previous` gives')
    .option('--idempotency-key <key>', 'the same key with the same request starts one run')
    .action(run<[string], RunOptions>(runRecipe))

  addCommand(recipe, 'diff <recipe>', 'Compare a file with the server, or two versions of a recipe.', [
    'recipe diff digest.yaml',
    'recipe diff digest --from 1 --to 3',
  ])
    .option('--from <version>', 'the older version; default the one before the latest', wholeNumber('--from'))
    .option('--to <version>', 'the newer version; default the latest', wholeNumber('--to'))
    .option('--exit-code', 'exit with 1 where there is a difference')
    .action(run<[string], DiffOptions>(diff))

  addCommand(recipe, 'export <recipe>', 'Print a recipe as YAML, with --json as JSON; `recipe apply` takes it back.', [
    'recipe export digest > digest.yaml',
    'recipe export digest --version 2 --output digest.json',
  ])
    .option('--version <n>', 'this version; default the latest', wholeNumber('--version'))
    .option('-o, --output <file>', 'write to a file; JSON where its name ends in .json')
    .action(run<[string], { version?: number; output?: string }>(exportRecipe))
}

async function listRecipes(session: Session, { limit, search }: ListOptions & { search?: string }): Promise<void> {
  const q = search === undefined ? {} : { q: search }
  const page = await takeItems(limit, (query) => session.api.listRecipes({ query: { ...query, ...q } }))
  showPage(
    session,
    page,
    [
      { title: 'RECIPE', of: ({ slug }) => slug, fixed: true },
      { title: 'NAME', of: ({ name }) => name },
      { title: 'VERSION', of: ({ version }) => version },
      {
        title: 'SCHEDULE',
        of: ({ cron_schedule, timezone }) => (cron_schedule === null ? '' : `${cron_schedule} ${timezone ?? ''}`),
      },
      { title: 'CHANGED', of: ({ updated_at }) => localTime(updated_at) },
    ],
    { many: 'recipes' },
  )
}

async function apply({ api, terminal }: Session, { dryRun }: { dryRun?: boolean }, paths: string[]): Promise<void> {
  const { readRecipeFiles } = await import('../recipe-files.ts')
  const { applyRecipes } = await import('../recipe-apply.ts')
  const files = await readRecipeFiles(paths)
  const applied = await applyRecipes(api, files, dryRun === true)
  if (terminal.json) return terminal.document({ dry_run: dryRun === true, items: applied })
  const { green, yellow, dim } = terminal.style
  const paint = { created: green, updated: yellow, unchanged: dim }
  for (const { slug, name, outcome, version, warnings } of applied) {
    const said = `${dryRun && outcome !== 'unchanged' ? 'would be ' : ''}${outcome}`
    terminal.line(`${paint[outcome](said)} ${oneLine(slug ?? name)}, version ${version}`)
    for (const { pointer, detail } of warnings) terminal.note(`  warning: ${pointer}  ${detail}`)
  }
}

async function runRecipe(session: Session, options: RunOptions, recipe: string): Promise<number | void> {
  const { api, terminal } = session
  const { data: started } = await api.executeRecipe({
    path: { recipe },
    ...(options.idempotencyKey !== undefined && { headers: { 'idempotency-key': options.idempotencyKey } }),
    body: {
      input_data: await inputOf(session, options, recipe),
      ...(options.stateKey !== undefined && { state_key: options.stateKey }),
    },
  })
  if (options.follow) {
    if (terminal.json) terminal.jsonLine({ type: 'started', execution: started })
    else terminal.line(terminal.style.dim(`Run ${started.id} of ${oneLine(recipe)}, version ${started.recipe_version}`))
    return followToEnd(session, started.id)
  }
  if (options.wait) return waitForOutput(session, started.id, ({ output }) => output)
  if (terminal.json) return terminal.document(started)
  terminal.line(started.id)
  terminal.note(`Follow it: automatos runs follow ${started.id}`)
}

async function inputOf({ api }: Session, { input, inputFile }: RunOptions, recipe: string): Promise<JsonObject> {
  const document = inputFile === undefined ? {} : await readInput(inputFile)
  if (input === undefined) return document
  const { data } = await api.getRecipe({ path: { recipe } })
  return toInput(document, input, data.inputs)
}

async function readInput(path: string): Promise<JsonObject> {
  const { readDocument } = await import('../recipe-files.ts')
  const value = await readDocument(path)
  if (!isObject(value)) throw new CliError(`${path} must hold an object of inputs.`, exitCodes.invalid)
  return value as JsonObject
}

async function diff({ api, terminal }: Session, options: DiffOptions, target: string): Promise<number> {
  const compared = (await isFile(target)) ? await diffFile(api, target) : await diffVersions(api, target, options)
  if (terminal.json) terminal.document(compared)
  else if (compared.changes.length === 0) terminal.note(`No difference between ${compared.from} and ${compared.to}.`)
  else {
    terminal.line(terminal.style.bold(oneLine(`${compared.from} → ${compared.to}`)))
    for (const change of compared.changes) terminal.line(changeLine(terminal, change))
  }
  return options.exitCode && compared.changes.length > 0 ? exitCodes.runFailed : exitCodes.ok
}

const isFile = async (path: string): Promise<boolean> =>
  path === '-' ||
  (await stat(path).then(
    (found) => found.isFile(),
    () => false,
  ))

interface Compared {
  recipe: string
  from: string | number
  to: string | number
  changes: RecipeChange[]
}

async function diffFile(api: Session['api'], path: string): Promise<Compared> {
  const [{ readRecipeFiles }, { compareWithServer }] = await Promise.all([
    import('../recipe-files.ts'),
    import('../recipe-apply.ts'),
  ])
  const [file, another] = await readRecipeFiles([path])
  if (!file || another) throw new CliError(`${path} holds several recipes: compare them one by one.`)
  const { current, changes } = await compareWithServer(api, file)
  return { recipe: current.slug, from: `version ${current.version}`, to: file.file, changes }
}

async function diffVersions(api: Session['api'], recipe: string, options: DiffOptions): Promise<Compared> {
  const to = options.to ?? (await api.getRecipe({ path: { recipe } })).data.version
  const from = options.from ?? Math.max(1, to - 1)
  const { data } = await api.diffRecipeVersions({ path: { recipe }, query: { from, to } })
  return { recipe, ...data }
}

function changeLine({ style, columns }: Session['terminal'], change: RecipeChange): string {
  const { op, pointer, from_pointer, from, to } = change
  const json = (value: unknown) => oneLine(JSON.stringify(value))
  const cut = (mark: string, about: string) =>
    truncate(`${mark} ${oneLine(pointer)}  ${about}`, Math.max(20, columns() - 1))
  if (op === 'add') return style.green(cut('+', json(to)))
  if (op === 'remove') return style.red(cut('-', json(from)))
  if (op === 'move') return style.cyan(cut('>', `from ${oneLine(from_pointer ?? '')}`))
  return style.yellow(cut('~', `${json(from)} → ${json(to)}`))
}

async function exportRecipe(
  { api, terminal }: Session,
  { version, output }: { version?: number; output?: string },
  recipe: string,
): Promise<void> {
  const { data } =
    version === undefined
      ? await api.exportRecipe({ path: { recipe } })
      : { data: (await api.getRecipeVersion({ path: { recipe, version } })).data.definition }
  const asJson = output === undefined ? terminal.json : /\.json$/i.test(output)
  const text = asJson ? `${JSON.stringify(data, null, 2)}\n` : await toYaml(data as Json)
  if (output === undefined) return terminal.result(text.replace(/\n$/, ''))
  await writeFile(output, text).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`${output} cannot be written (${error.code ?? error.message}).`)
  })
  if (terminal.json) terminal.document({ file: output })
  else terminal.note(`Written to ${output}.`)
}

async function toYaml(value: Json): Promise<string> {
  const { stringify } = await import('yaml')
  return stringify(value, { lineWidth: 100 })
}
