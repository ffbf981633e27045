import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { packageRoot } from '../runtime/node/package-root.ts'
import { readEnvironment } from '../runtime/node/environment.ts'
import { deployToCloudflare, type Ended } from './deploy/cloudflare.ts'

// `npm run deploy:cloudflare [-- --dry-run]`: migrate, seed, deploy.
const scratch = await mkdtemp(join(tmpdir(), 'automatos-deploy-'))
// The database belongs to a Worker: this process needs no data folder and no keys of its own to bring its schema.
const env = {
  ENVIRONMENT: 'production',
  CREDENTIAL_ENCRYPTION_KEY: `none:${randomBytes(32).toString('base64')}`,
  ...readEnvironment(),
  DATA_DIR: scratch,
}
const wranglerProgram = join(
  dirname(createRequire(import.meta.url).resolve('wrangler/package.json')),
  'bin/wrangler.js',
)

try {
  process.exitCode = await deployToCloudflare(
    {
      manifest: await readFile(join(packageRoot, 'wrangler.toml'), 'utf8'),
      env,
      wrangler: (args, { quiet } = { quiet: false }) => run([wranglerProgram, ...args], quiet),
      migrate: () => run(['src/cli/launch.js', 'src/cli/migrate.ts'], false),
      say: (line) => console.log(line),
    },
    { dryRun: process.argv.includes('--dry-run') },
  )
} finally {
  await rm(scratch, { recursive: true, force: true })
}

async function run(args: string[], quiet: boolean): Promise<Ended> {
  const child = spawn(process.execPath, args, {
    cwd: packageRoot,
    env: { ...env, WRANGLER_SEND_METRICS: 'false' },
    stdio: ['inherit', quiet ? 'pipe' : 'inherit', quiet ? 'ignore' : 'inherit'],
  })
  let stdout = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text))
  const [code] = (await once(child, 'close')) as [number | null]
  return { code: code ?? 1, stdout }
}
