import { readFile, writeFile } from 'node:fs/promises'
import { categories, type Setting } from '../config/setting.ts'
import { settings } from '../config/settings.ts'

/** `npm run config:docs` writes what follows from the table of settings; with `--check` it only compares, for CI. */
const table: [string, Setting<unknown>][] = Object.entries(settings)
const regenerate = 'Generated from `src/config/settings.ts` by `npm run config:docs`.'

const inCategory = (category: string) => table.filter(([, setting]) => setting.category === category)

function defaultOf(setting: Setting<unknown>): string {
  if (setting.default === undefined) return ''
  return typeof setting.default === 'string' ? `\`${setting.default}\`` : setting.default.text
}

function envExample(): string {
  const lines = [`# ${regenerate.replaceAll('`', '')}`, '# Everything is optional; an empty value counts as unset.']
  for (const category of categories) {
    lines.push('', `# --- ${category} ---`)
    for (const [variable, setting] of inCategory(category)) {
      const shown = typeof setting.default === 'string' ? setting.default : ''
      lines.push(`# ${setting.description}`, `# ${variable}=${setting.example ?? shown}`)
    }
  }
  return `${lines.join('\n')}\n`
}

function documentation(): string {
  const lines = [
    '# Configuration',
    '',
    regenerate,
    '',
    'The product is configured by environment variables. All of them are checked at start: a process with a fault does not',
    'start and lists every fault with the variable and what it expects. An empty value counts as unset. Secrets print as',
    '`***` everywhere. `npm run config` prints the effective values with the source of each.',
    '',
    'On Cloudflare Workers the variables are `vars` and secrets of the Worker (`wrangler secret put NAME`); those marked',
    '*server* are read by Node and Bun only.',
  ]
  for (const category of categories) {
    lines.push('', `## ${category}`, '', '| variable | expects | default | runtime | |', '|---|---|---|---|---|')
    for (const [variable, setting] of inCategory(category)) {
      const expects = `${setting.type.expects}${setting.secret ? ' (secret)' : ''}`
      const cells = [`\`${variable}\``, expects, defaultOf(setting), setting.runtimes ?? 'all', setting.description]
      lines.push(`| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    }
  }
  lines.push(
    '',
    '## Settings of the original product',
    '',
    'A variable of the original that this version does not read yet (`CLERK_SECRET_KEY`, `COMPOSIO_API_KEY`,',
    '`CHANNELS_ENABLED` and others) changes nothing and is named in a warning at start.',
  )
  return `${lines.join('\n')}\n`
}

const files = { '.env.example': envExample(), 'docs/configuration.md': documentation() }
const root = new URL('../../', import.meta.url)
for (const [path, content] of Object.entries(files)) {
  const url = new URL(path, root)
  if (!process.argv.includes('--check')) {
    await writeFile(url, content)
  } else if ((await readFile(url, 'utf8').catch(() => '')) !== content) {
    console.error(`${path} does not match the settings: run npm run config:docs and commit the result.`)
    process.exitCode = 1
  }
}
