// Runs what docs/deploy says where that needs neither Docker nor an account: the dry run for Cloudflare, the unit for
// systemd, and the secrets for compose.yaml.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse } from 'yaml'

const root = join(import.meta.dirname, '..')
const scratch = mkdtempSync(join(tmpdir(), 'automatos-deployment-'))
const block = (page: string, pattern: RegExp) => {
  const found = pattern.exec(readFileSync(join(root, 'docs/deploy', page), 'utf8'))?.[1]
  if (!found) throw new Error(`docs/deploy/${page} has no ${pattern}`)
  return found
}

try {
  // The placeholders of the repository must be named, and the build must pass.
  const env = { ...process.env, DATABASE_URL: '', POSTGRES_HOST: '', POSTGRES_DB: '' }
  const dry = spawnSync('npm', ['run', '-s', 'deploy:cloudflare', '--', '--dry-run'], {
    cwd: root,
    env,
    encoding: 'utf8',
  })
  if (dry.status !== 78 || !/dry-run: exiting[\s\S]*id of Hyperdrive[\s\S]*DATABASE_URL/.test(dry.stdout))
    throw new Error(`deploy:cloudflare --dry-run ended with ${dry.status}:\n${dry.stdout}\n${dry.stderr}`)
  console.log('cloudflare: the dry run builds and names what is missing')

  const unit = block('node.md', /```ini\n([\s\S]*?)```/)
  if (spawnSync('systemd-analyze', ['--version']).status === 0) {
    // The program and the user need not be on this machine.
    const here = unit
      .replace(/^(User|Group)=.*$/gm, '$1=root')
      .replace(/^WorkingDirectory=.*$/m, 'WorkingDirectory=/')
      .replace(/^ExecStart=\S+ \S+/m, `ExecStart=${process.execPath} ${join(root, 'dist/bin.js')}`)
    writeFileSync(join(scratch, 'automatos.service'), here)
    execFileSync('systemd-analyze', ['verify', join(scratch, 'automatos.service')], { stdio: 'inherit' })
    console.log('node: systemd accepts the unit')
  } else {
    console.log('node: systemd is not there, its unit was not checked')
  }

  mkdirSync(join(scratch, 'compose'))
  const secrets = /(cat > \.env <<EOF\n[\s\S]*?\nEOF\n)/
  execFileSync('sh', ['-c', block('docker.md', secrets)], { cwd: join(scratch, 'compose') })
  const given = readFileSync(join(scratch, 'compose/.env'), 'utf8')
    .split('\n')
    .map((line) => line.split('=')[0])
  const text = readFileSync(join(root, 'compose.yaml'), 'utf8')
  const { services } = parse(text) as { services: Record<string, { healthcheck?: unknown; depends_on?: object }> }
  const needed = [...text.matchAll(/\$\{(\w+):\?/g)].map(([, name]) => name)
  const missing = needed.filter((name) => !given.includes(name))
  if (missing.length > 0) throw new Error(`docker.md makes no ${missing.join(', ')}`)
  for (const name of Object.keys(services['server']?.depends_on ?? {}))
    if (!services[name]?.healthcheck) throw new Error(`compose.yaml waits for ${name}, which has no health check`)
  console.log('docker: the secrets that compose.yaml asks for are the ones that the page makes')
} finally {
  rmSync(scratch, { recursive: true, force: true })
}
