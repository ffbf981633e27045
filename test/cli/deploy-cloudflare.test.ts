import { expect, test } from 'vitest'
import { deployToCloudflare, type DeployParts, type Ended } from '../../src/cli/deploy/cloudflare.ts'

const filledIn = 'id = "5f2c8d1e9b7a4c3d8e6f0a1b2c3d4e5f"'
const placeholder = `id = "${'0'.repeat(32)}"`
const ok: Ended = { code: 0, stdout: '' }

function bench(given: Partial<DeployParts> & { answers?: Record<string, Ended> } = {}) {
  const steps: string[] = []
  const said: string[] = []
  const answers: Record<string, Ended> = {
    'secret list': { code: 0, stdout: '[{"name":"CREDENTIAL_ENCRYPTION_KEY","type":"secret_text"}]' },
    ...given.answers,
  }
  const answer = async (step: string): Promise<Ended> => {
    steps.push(step)
    return answers[step] ?? ok
  }
  const parts: DeployParts = {
    manifest: filledIn,
    env: { DATABASE_URL: 'postgres://someone@db.example/automatos' },
    wrangler: (args) => answer(args[0] === 'deploy' && args[1] ? 'build' : args.slice(0, 2).join(' ')),
    migrate: () => answer('migrate'),
    say: (line) => said.push(line),
    ...given,
  }
  return { parts, steps, said: () => said.join('\n') }
}
const touching = (steps: string[]) => steps.filter((step) => ['build', 'migrate', 'deploy'].includes(step))

test('builds, then migrates and seeds, then deploys', async () => {
  const { parts, steps } = bench()
  expect(await deployToCloudflare(parts, { dryRun: false })).toBe(0)
  expect(touching(steps)).toEqual(['build', 'migrate', 'deploy'])
})

test('what cannot be built touches no database, and a database that is not ready gets no new Worker', async () => {
  const broken = bench({ answers: { build: { code: 1, stdout: '' } } })
  expect(await deployToCloudflare(broken.parts, { dryRun: false })).toBe(1)
  expect(touching(broken.steps)).toEqual(['build'])
  const away = bench({ answers: { migrate: { code: 69, stdout: '' } } })
  expect(await deployToCloudflare(away.parts, { dryRun: false })).toBe(69)
  expect(touching(away.steps)).toEqual(['build', 'migrate'])
  expect(away.said()).toContain('Nothing was deployed')
})

test('refuses with everything at once that this machine can see to be missing', async () => {
  const { parts, steps, said } = bench({ manifest: placeholder, env: {} })
  expect(await deployToCloudflare(parts, { dryRun: false })).toBe(78)
  expect(steps).toEqual([])
  expect(said()).toMatch(/id of Hyperdrive[\s\S]*DATABASE_URL/)
  const faulty = bench({ env: { DATABASE_URL: 'mysql://db.example' } })
  expect(await deployToCloudflare(faulty.parts, { dryRun: false })).toBe(78)
  expect(faulty.said()).toContain('a valid DATABASE_URL')
})

test('refuses without a login and without the secret that credentials are sealed with', async () => {
  const stranger = bench({ answers: { whoami: { code: 0, stdout: 'You are not authenticated. Please run ...' } } })
  expect(await deployToCloudflare(stranger.parts, { dryRun: false })).toBe(78)
  expect(stranger.said()).toContain('wrangler login')
  for (const list of [
    { code: 0, stdout: '[]' },
    { code: 1, stdout: '' },
  ]) {
    const first = bench({ answers: { 'secret list': list } })
    expect(await deployToCloudflare(first.parts, { dryRun: false })).toBe(78)
    expect(first.said()).toContain('secret put CREDENTIAL_ENCRYPTION_KEY')
    expect(touching(first.steps)).toEqual([])
  }
})

test('a dry run builds, asks nobody, changes nothing, and still says what is missing', async () => {
  const { parts, steps, said } = bench({ manifest: placeholder })
  expect(await deployToCloudflare(parts, { dryRun: true })).toBe(78)
  expect(steps).toEqual(['build'])
  expect(said()).toContain('id of Hyperdrive')
  const ready = bench()
  expect(await deployToCloudflare(ready.parts, { dryRun: true })).toBe(0)
  expect(ready.steps).toEqual(['build'])
})
