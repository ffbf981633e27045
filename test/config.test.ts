import { execFile } from 'node:child_process'
import { inspect, promisify } from 'node:util'
import { expect, test } from 'vitest'
import { ConfigError, parseConfig, resolveConfig, type ConfigFault } from '../src/config.ts'
import { settings } from '../src/config/settings.ts'

const key = `ak_srv_${'0123456789abcdef'.repeat(4)}`
const bytes = (fill: number) => btoa(String.fromCharCode(...new Uint8Array(32).fill(fill)))

function faultsOf(env: Record<string, unknown>): readonly ConfigFault[] {
  try {
    parseConfig(env)
    return []
  } catch (error) {
    if (error instanceof ConfigError) return error.faults
    throw error
  }
}
const faultyVariables = (env: Record<string, unknown>) => faultsOf(env).map((fault) => fault.variable)
const databaseUrl = (env: Record<string, unknown>) => parseConfig(env).databaseUrl?.reveal() ?? null

test('starts with no variable at all, on loopback, embedded and with limits', () => {
  expect(parseConfig({})).toMatchObject({
    environment: 'development',
    port: 8000,
    host: '127.0.0.1',
    dataDir: '.data',
    databaseUrl: null,
    corsAllowOrigins: ['http://localhost:3000'],
    rateLimitDefault: { limit: 60, windowSeconds: 60 },
    rateLimitAuthenticated: { limit: 600, windowSeconds: 60 },
    rateLimitWorkspace: null,
    egressAllow: [],
    allowOfflineModel: false,
    warnings: [],
  })
})

test('reports every fault at once, each with its variable and what it expects', () => {
  const faults = faultsOf({
    ENVIRONMENT: 'prod',
    PORT: '70000',
    RATE_LIMIT_DEFAULT: '60 per minute',
    ADMIN_API_KEY: 'ak_srv_short',
    CREDENTIAL_ENCRYPTION_KEY: 'k1:AAAA',
    CORS_ALLOW_ORIGINS: 'https://a.example,*',
    TRUSTED_PROXIES: '10.0.0.0/33',
    EGRESS_ALLOW: 'ok.example,bad host',
    RECIPE_SCHEDULER_ENABLED: 'maybe',
    DATABASE_URL: 'mysql://localhost/x',
  })
  expect(faults.map((fault) => fault.variable).toSorted()).toEqual([
    'ADMIN_API_KEY',
    'CORS_ALLOW_ORIGINS',
    'CREDENTIAL_ENCRYPTION_KEY',
    'DATABASE_URL',
    'EGRESS_ALLOW',
    'ENVIRONMENT',
    'PORT',
    'RATE_LIMIT_DEFAULT',
    'RECIPE_SCHEDULER_ENABLED',
    'TRUSTED_PROXIES',
  ])
  for (const fault of faults) expect(fault.detail).toMatch(/^expects /)
})

test('never shows a secret, neither in a fault nor in a print of the config', () => {
  const env = {
    OPENAI_API_KEY: 'sk-very-secret',
    DATABASE_URL: 'postgres://u:very-secret@localhost/x',
    METRICS_TOKEN: 'very-secret-token',
    POSTGRES_PASSWORD: 'very-secret',
  }
  const { config, effective } = resolveConfig(env)
  expect(inspect(config, { depth: 5 }) + JSON.stringify(config) + JSON.stringify(effective)).not.toContain(
    'very-secret',
  )
  expect(
    JSON.stringify(faultsOf({ ADMIN_API_KEY: 'very-secret', CREDENTIAL_ENCRYPTION_KEY: 'very-secret' })),
  ).not.toContain('very-secret')
  expect(config.openaiApiKey?.reveal()).toBe('sk-very-secret')
})

test('marks as secret every setting that is named like one', () => {
  const unmarked = Object.entries(settings)
    .filter(([name, setting]) => /KEY|PASSWORD|TOKEN|SECRET|DATABASE_URL/.test(name) && !setting.secret)
    .map(([name]) => name)
  expect(unmarked).toEqual([])
})

test('cannot be changed after it was made', () => {
  const config = parseConfig({ CORS_ALLOW_ORIGINS: 'https://a.example' })
  expect(() => Object.assign(config, { port: 1 })).toThrow(TypeError)
  expect(() => (config.corsAllowOrigins as string[]).push('https://evil.example')).toThrow(TypeError)
  expect(() => Object.assign(config.rateLimitDefault, { limit: 1 })).toThrow(TypeError)
})

test('takes an empty or blank variable as unset', () => {
  expect(parseConfig({ PORT: '', HOST: '  ', DATABASE_URL: '' })).toMatchObject({
    port: 8000,
    host: '127.0.0.1',
    databaseUrl: null,
  })
})

test('ignores what is no string, as the bindings of a Worker are', () => {
  expect(parseConfig({ PORT: { fetch() {} }, HYPERDRIVE: {} }).port).toBe(8000)
})

test('computes the database URL from its parts, with their special characters kept apart', () => {
  expect(
    databaseUrl({
      POSTGRES_HOST: 'db.example',
      POSTGRES_DB: 'auto',
      POSTGRES_USER: 'a@b',
      POSTGRES_PASSWORD: 'p/w:?',
      POSTGRES_PORT: '6000',
    }),
  ).toBe('postgres://a%40b:p%2Fw%3A%3F@db.example:6000/auto')
  expect(databaseUrl({ POSTGRES_DB: 'auto' })).toBe('postgres://postgres@localhost:5432/auto')
  expect(databaseUrl({ POSTGRES_USER: 'nobody' })).toBeNull()
  expect(databaseUrl({ POSTGRES_DB: 'auto', DATABASE_URL: 'postgres://x/y' })).toBe('postgres://x/y')
})

test('asks for TLS in production unless the host is local or the URL decides itself', () => {
  const inProduction = (url: string) => databaseUrl({ ENVIRONMENT: 'production', DATABASE_URL: url })
  expect(inProduction('postgres://u:p@postgres.example:5432/localhost')).toBe(
    'postgres://u:p@postgres.example:5432/localhost?sslmode=require',
  )
  expect(inProduction('postgres://u:localhost@db/x')).toContain('sslmode=require')
  expect(inProduction('postgres://db/x?sslmode=disable')).toBe('postgres://db/x?sslmode=disable')
  for (const host of ['localhost', '127.0.0.1', '[::1]'])
    expect(inProduction(`postgres://${host}/x`)).not.toContain('sslmode')
  expect(databaseUrl({ DATABASE_URL: 'postgres://db.example/x' })).toBe('postgres://db.example/x')
})

test('runs embedded in production only when the folder was named on purpose', () => {
  expect(faultyVariables({ ENVIRONMENT: 'production' })).toEqual(['DATABASE_URL'])
  expect(faultyVariables({ ENVIRONMENT: 'production', DATA_DIR: '/var/lib/automatos' })).toEqual([])
  expect(parseConfig({ ENVIRONMENT: 'production' }, { runtime: 'workers' }).environment).toBe('production')
})

test('opens nothing to other origins in production by itself', () => {
  const production = { ENVIRONMENT: 'production', DATA_DIR: '/data' }
  expect(parseConfig({ ...production, FRONTEND_URL: 'https://app.example' }).corsAllowOrigins).toEqual([])
  expect(
    parseConfig({ ...production, CORS_ALLOW_ORIGINS: 'https://app.example/, https://b.example' }).corsAllowOrigins,
  ).toEqual(['https://app.example', 'https://b.example'])
  expect(parseConfig({ FRONTEND_URL: 'https://app.example/x' }).corsAllowOrigins).toEqual(['https://app.example'])
  expect(parseConfig(production).host).toBe('0.0.0.0')
})

test('names the proxies it trusts as ranges, and takes none for no proxy', () => {
  expect(parseConfig({ TRUSTED_PROXIES: '203.0.113.7, 2001:db8::1, loopback' }).trustedProxies).toEqual([
    '203.0.113.7/32',
    '2001:db8::1/128',
    '127.0.0.0/8',
    '::1/128',
  ])
  expect(parseConfig({ TRUSTED_PROXIES: 'none' }).trustedProxies).toEqual([])
})

test('takes rates by the minute and by name, but never zero', () => {
  expect(parseConfig({ RATE_LIMIT_DEFAULT: '90' }).rateLimitDefault).toEqual({ limit: 90, windowSeconds: 60 })
  expect(parseConfig({ RATE_LIMIT_DEFAULT: '5/second' }).rateLimitDefault).toEqual({ limit: 5, windowSeconds: 1 })
  expect(faultyVariables({ RATE_LIMIT_DEFAULT: '0/minute' })).toEqual(['RATE_LIMIT_DEFAULT'])
})

test.each([
  'intranet.example.com',
  'api.internal:8443',
  '10.0.0.0/8',
  '127.0.0.1:9000',
  '[::1]:9000',
  'fd00::/8',
  '::1',
])('lets %s be named as an egress target', (target) =>
  expect(parseConfig({ EGRESS_ALLOW: target }).egressAllow).toEqual([target]),
)
test.each(['http://a.example', 'a.example:99999', 'a.example:', 'a b', '-a.example', '[::1', '1.2.3.4/99', 'a:1:2'])(
  'refuses %s as an egress target',
  (target) => expect(faultyVariables({ EGRESS_ALLOW: target })).toEqual(['EGRESS_ALLOW']),
)

test('takes a key ring whose keys are 32 bytes and whose ids differ', () => {
  const ring = `new:${bytes(1)},old:${bytes(2)}`
  expect(parseConfig({ CREDENTIAL_ENCRYPTION_KEY: ring, ADMIN_API_KEY: key }).credentialEncryptionKey?.reveal()).toBe(
    ring,
  )
  expect(faultyVariables({ CREDENTIAL_ENCRYPTION_KEY: `a:${bytes(1)},a:${bytes(2)}` })).toEqual([
    'CREDENTIAL_ENCRYPTION_KEY',
  ])
  expect(faultyVariables({ CREDENTIAL_ENCRYPTION_KEY: bytes(1) })).toEqual(['CREDENTIAL_ENCRYPTION_KEY'])
})

test('names a fault where it is, not where it is computed into', () => {
  expect(faultyVariables({ POSTGRES_HOST: 'db', POSTGRES_PORT: 'x', BACKEND_URL: 'ftp://x' })).toEqual([
    'POSTGRES_PORT',
    'BACKEND_URL',
  ])
})

test("warns of the original's settings that nothing reads, and of nothing else", () => {
  const { warnings } = parseConfig({
    LOKI_URL: 'http://x',
    CLERK_SECRET_KEY: 's',
    API_KEY: 'k',
    PATH: '/bin',
    JIRA_URL: '',
  })
  expect(warnings).toEqual([
    'API_KEY is set but not supported by this version: use ADMIN_API_KEY.',
    'CLERK_SECRET_KEY is set but not supported by this version.',
    'LOKI_URL is set but not supported by this version.',
  ])
})

test('names of the command line are no settings of the original', () => {
  expect(parseConfig({ AUTOMATOS_URL: 'http://x', AUTOMATOS_API_KEY: 'k' }).warnings).toEqual([])
  expect(parseConfig({ AUTOMATOS_HOME: '/x' }).warnings).toHaveLength(1)
})

test('in production a server that does not know its own address says what becomes of its links', () => {
  const production = { ENVIRONMENT: 'production', DATA_DIR: '/data' }
  expect(parseConfig(production).warnings).toEqual([
    'API_URL is not set: links in e-mails, approvals, webhooks and files begin with http://localhost:8000, which leads nobody here.',
  ])
  expect(parseConfig({ ...production, API_URL: 'https://a.example' }).warnings).toEqual([])
  expect(parseConfig({ ...production, BACKEND_URL: 'https://a.example' }).warnings).toEqual([])
  expect(parseConfig({}).warnings).toEqual([])
})

test('says of each value where it comes from', () => {
  const sources = Object.fromEntries(
    resolveConfig({ PORT: '9000', POSTGRES_DB: 'x' }).effective.map(({ variable, source }) => [variable, source]),
  )
  expect(sources).toMatchObject({
    PORT: 'environment',
    LOG_LEVEL: 'default',
    DATABASE_URL: 'computed',
    API_URL: 'computed',
    LLM_MODEL: 'unset',
  })
})

test('keeps .env.example and docs/configuration.md in step with the table', async () => {
  await promisify(execFile)(process.execPath, ['src/cli/config-docs.ts', '--check'])
})

test('prints the effective values, or every fault and a failing exit code', async () => {
  const run = (env: Record<string, string>) => promisify(execFile)(process.execPath, ['src/cli/config.ts'], { env })
  const { stdout, stderr } = await run({ OPENAI_API_KEY: 'sk-very-secret', LOKI_URL: 'x' })
  expect(stdout).toMatch(/^OPENAI_API_KEY +environment +\*\*\*$/m)
  expect(stdout).not.toContain('very-secret')
  expect(stderr).toContain('LOKI_URL')
  await expect(run({ PORT: 'x', LOG_LEVEL: 'loud' })).rejects.toMatchObject({
    code: 78,
    stderr: expect.stringMatching(/LOG_LEVEL expects[^]*PORT expects/),
  })
})

test('an identity provider is named as a whole or not at all', () => {
  const clerk = 'https://example.clerk.accounts.dev/.well-known/jwks.json'
  expect(parseConfig({ CLERK_JWKS_URL: clerk })).toMatchObject({
    authJwksUrl: clerk,
    authIssuer: 'https://example.clerk.accounts.dev',
    authAudience: null,
  })
  const generic = { AUTH_JWKS_URL: 'https://id.example/keys' }
  expect(faultyVariables(generic)).toEqual(['AUTH_ISSUER', 'AUTH_AUDIENCE'])
  expect(faultyVariables({ AUTH_ISSUER: 'https://id.example/' })).toEqual(['AUTH_JWKS_URL'])
  expect(faultyVariables({ ...generic, CLERK_JWKS_URL: clerk })).toEqual(['AUTH_ISSUER', 'AUTH_AUDIENCE'])
  const whole = { ...generic, AUTH_ISSUER: 'https://id.example/', AUTH_AUDIENCE: 'api, https://api.example' }
  expect(parseConfig(whole)).toMatchObject({
    authIssuer: 'https://id.example/',
    authAudience: ['api', 'https://api.example'],
  })
  expect(parseConfig({ ...whole, AUTH_AUDIENCE: 'none' }).authAudience).toEqual([])
})

test('further issuers are a list, each whole and each once', () => {
  const clerk = { issuer: 'https://clerk.example', kind: 'clerk', authorized_parties: 'https://app.example' }
  const oidc = { issuer: 'https://id.example/', jwks_url: 'https://id.example/keys', audience: ['a', 'b'] }
  const issuers = (...list: object[]) => ({ AUTH_ISSUERS: JSON.stringify(list) })
  expect(parseConfig({ ...issuers(clerk, oidc), AUTH_SIGN_UP: 'members' })).toMatchObject({
    authIssuers: [
      {
        issuer: 'https://clerk.example',
        jwksUrl: 'https://clerk.example/.well-known/jwks.json',
        kind: 'clerk',
        audience: [],
        authorizedParties: ['https://app.example'],
      },
      { jwksUrl: 'https://id.example/keys', kind: 'oidc', audience: ['a', 'b'], authorizedParties: [] },
    ],
    warnings: [],
  })
  expect(parseConfig(issuers({ ...oidc, audience: 'none' })).authIssuers?.[0]?.audience).toEqual([])
  const faulty = [
    { AUTH_ISSUERS: 'no json' },
    { AUTH_ISSUERS: '{}' },
    issuers({ ...oidc, jwks_url: undefined }),
    issuers({ ...oidc, audience: undefined }),
    issuers({ ...oidc, jwks_url: 'file:///etc/passwd' }),
    issuers({ ...oidc, more: 1 }),
    issuers(oidc, { ...oidc, audience: 'c' }),
    { ...issuers(oidc), AUTH_JWKS_URL: 'https://id.example/k', AUTH_ISSUER: oidc.issuer, AUTH_AUDIENCE: 'a' },
  ]
  for (const env of faulty) expect(faultyVariables(env), JSON.stringify(env)).toEqual(['AUTH_ISSUERS'])
  expect(parseConfig(issuers({ ...clerk, jwks_url: 'http://far.example/k' })).warnings.join()).toContain('without TLS')
})

test('keys that are read without TLS from another machine are warned about', () => {
  const from = (url: string) =>
    parseConfig({ AUTH_JWKS_URL: url, AUTH_ISSUER: 'x', AUTH_AUDIENCE: 'none', AUTH_SIGN_UP: 'members' }).warnings
      .length
  expect(['https://id.example/k', 'http://127.0.0.1:1/k', 'http://id.example/k'].map(from)).toEqual([0, 0, 1])
})

test('an open sign-up and tokens for any application are warned about', () => {
  const clerk = 'https://clerk.example/.well-known/jwks.json'
  const warnings = (env: Record<string, string>) => parseConfig({ CLERK_JWKS_URL: clerk, ...env }).warnings.join('\n')
  expect(warnings({})).toMatch(/AUTH_SIGN_UP=members[^]*AUTH_AUTHORIZED_PARTIES/)
  expect(warnings({ AUTH_SIGN_UP: 'members', AUTH_AUTHORIZED_PARTIES: 'https://app.example' })).toBe('')
  expect(parseConfig({}).warnings).toEqual([])
})

test('a bucket is named with its key, and AWS needs no address', () => {
  const bucket = { S3_BUCKET: 'files', S3_ACCESS_KEY_ID: 'id', S3_SECRET_ACCESS_KEY: 'secret' }
  const onAws = { s3Endpoint: 'https://s3.eu-central-1.amazonaws.com', s3PathStyle: false }
  expect(parseConfig({ ...bucket, S3_REGION: 'eu-central-1' })).toMatchObject(onAws)
  const elsewhere = { s3Endpoint: 'http://minio:9000', s3PathStyle: true }
  expect(parseConfig({ ...bucket, S3_ENDPOINT: 'http://minio:9000/' })).toMatchObject(elsewhere)
  expect(parseConfig({})).toMatchObject({ s3Bucket: null, s3Endpoint: null })
  expect(faultyVariables({ S3_BUCKET: 'files' })).toEqual(['S3_ACCESS_KEY_ID', 'S3_SECRET_ACCESS_KEY'])
  expect(faultyVariables({ S3_ENDPOINT: 'http://minio:9000' })).toEqual(['S3_BUCKET'])
  expect(faultyVariables({ ...bucket, S3_BUCKET: 'Not A Bucket' })).toEqual(['S3_BUCKET'])
})

test('REDIS_URL comes from its parts once a host is named, and from nothing else', () => {
  const url = (env: Record<string, string>) => parseConfig(env).redisUrl?.reveal() ?? null
  expect(url({ REDIS_PORT: '6380', REDIS_PASSWORD: 'pw' })).toBeNull()
  expect(url({ REDIS_HOST: 'cache' })).toBe('redis://cache:6379')
  expect(url({ REDIS_HOST: '::1', REDIS_PORT: '6380', REDIS_PASSWORD: 'p@ss/word' })).toBe(
    'redis://:p%40ss%2Fword@[::1]:6380',
  )
  expect(url({ REDIS_URL: 'rediss://me:pw@cache:6379/2', REDIS_HOST: 'other' })).toBe('rediss://me:pw@cache:6379/2')
  for (const bad of ['http://cache', 'redis://', 'redis://cache/name']) {
    expect(faultyVariables({ REDIS_URL: bad }), bad).toEqual(['REDIS_URL'])
  }
})

test('Upstash is named with its token or not at all', () => {
  const both = { UPSTASH_REDIS_REST_URL: 'https://name.upstash.io', UPSTASH_REDIS_REST_TOKEN: 'secret' }
  expect(parseConfig(both)).toMatchObject({ upstashRedisRestUrl: 'https://name.upstash.io', warnings: [] })
  expect(JSON.stringify(parseConfig(both))).not.toContain('secret')
  expect(faultyVariables({ UPSTASH_REDIS_REST_URL: both.UPSTASH_REDIS_REST_URL })).toEqual(['UPSTASH_REDIS_REST_TOKEN'])
  expect(faultyVariables({ UPSTASH_REDIS_REST_TOKEN: 'secret' })).toEqual(['UPSTASH_REDIS_REST_URL'])
})
