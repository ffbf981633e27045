import { ConfigError, parseConfig } from '../../config.ts'

export interface Ended {
  code: number
  stdout: string
}

/** What a deployment is made with; tests pass their own. */
export interface DeployParts {
  /** The text of wrangler.toml. */
  manifest: string
  env: Record<string, string | undefined>
  /** Runs wrangler; what it says reaches the terminal, except where the answer is asked for. */
  wrangler(args: string[], options?: { quiet: boolean }): Promise<Ended>
  /** `npm run migrate` against DATABASE_URL. */
  migrate(): Promise<Ended>
  say(line: string): void
}

/** sysexits.h: EX_CONFIG */
const somethingIsMissing = 78
const requiredSecrets = ['CREDENTIAL_ENCRYPTION_KEY']
const providerKeys = ['OPENAI_API_KEY', 'ANTHROPIC_API_KEY', 'GOOGLE_API_KEY', 'OPENROUTER_API_KEY']

/**
 * Builds, brings schema and seeds, deploys: in this order, so that what cannot be built touches no database, and the new
 * Worker finds its schema. Refuses with all that is missing at once. `dryRun` needs no network: it builds, and says what
 * a real deployment would do and what it still lacks. Returns the exit code.
 */
export async function deployToCloudflare(parts: DeployParts, { dryRun }: { dryRun: boolean }): Promise<number> {
  const { say, wrangler } = parts
  const missing = missingHere(parts)
  if (!dryRun && missing.length === 0) missing.push(...(await missingThere(parts)))
  if (!dryRun && missing.length > 0) return refuse(missing, say)

  say('1. Build')
  if ((await wrangler(['deploy', '--dry-run', '--outdir', 'dist/worker'])).code !== 0) return 1

  if (dryRun) {
    say('2. Would migrate and seed the database that DATABASE_URL names')
    say('3. Would deploy. Whether the secrets are set is known to Cloudflare alone and was not asked')
    return missing.length > 0 ? refuse(missing, say) : 0
  }

  say('2. Migrate and seed')
  const migrated = await parts.migrate()
  if (migrated.code !== 0) {
    say('Nothing was deployed: the database is not ready. The Worker that runs now goes on as before.')
    return migrated.code
  }
  say('3. Deploy')
  const { code } = await wrangler(['deploy'])
  if (code !== 0)
    say('The database is up to date; the Worker that ran before goes on. Repair the cause and deploy again.')
  return code
}

function refuse(missing: string[], say: (line: string) => void): number {
  say('A deployment still lacks:')
  for (const line of missing) say(`- ${line}`)
  return somethingIsMissing
}

/** What can be seen on this machine. */
function missingHere({ manifest, env }: DeployParts): string[] {
  const missing: string[] = []
  if (/^\s*id\s*=\s*"0{32}"/m.test(manifest)) {
    missing.push(
      'the id of Hyperdrive in wrangler.toml: npx wrangler hyperdrive create automatos --caching-disabled --connection-string="postgres://…"',
    )
  }
  if (!env['DATABASE_URL'] && !env['POSTGRES_HOST'] && !env['POSTGRES_DB']) {
    missing.push('DATABASE_URL in the environment: the database behind Hyperdrive, as this machine reaches it')
    return missing
  }
  try {
    parseConfig(env)
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    for (const { variable, detail } of error.faults) missing.push(`a valid ${variable}: it ${detail}`)
  }
  return missing
}

/** What only Cloudflare knows. */
async function missingThere({ wrangler, say }: DeployParts): Promise<string[]> {
  const who = await wrangler(['whoami'], { quiet: true })
  if (who.code !== 0 || /not authenticated/i.test(who.stdout)) {
    return ['access to Cloudflare: npx wrangler login, or CLOUDFLARE_API_TOKEN in the environment']
  }
  const listed = await wrangler(['secret', 'list', '--format', 'json'], { quiet: true })
  // A Worker that has never been deployed has no list.
  const names = listed.code === 0 ? secretNames(listed.stdout) : []
  if (!providerKeys.some((name) => names.includes(name))) {
    say(`Note: no key of a model provider is set (npx wrangler secret put ${providerKeys[0]}); models will answer 503.`)
  }
  return requiredSecrets
    .filter((name) => !names.includes(name))
    .map(
      (name) =>
        `the secret ${name}: npx wrangler secret put ${name} (make one with: echo "k1:$(openssl rand -base64 32)")`,
    )
}

function secretNames(json: string): string[] {
  const list = JSON.parse(json.slice(json.indexOf('['))) as { name: string }[]
  return list.map(({ name }) => name)
}
