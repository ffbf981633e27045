import { databaseUrlFromParts } from './database-url.ts'
import { emailSettings } from './email-settings.ts'
import { redisUrlFromParts } from './redis-url.ts'
import { issuerOfClerk } from './identity-provider.ts'
import { rateLimitSettings } from './rate-limit-settings.ts'
import { issuerList } from './issuers.ts'
import { retentionSettings } from './retention-settings.ts'
import { optional, setting } from './setting.ts'
import * as t from './value-types.ts'

const isProduction = (environment: string | undefined) => environment?.toLowerCase() === 'production'

const providerKey = (name: string) =>
  optional(t.secretText, { category: 'Models', secret: true, description: `Key for ${name}.` })
const providerUrl = (name: string) =>
  optional(t.webUrl, { category: 'Models', description: `Replaces the address of ${name}, for a proxy or gateway.` })

/**
 * Every environment variable that the product reads. `Config`, `.env.example`, `docs/configuration.md` and
 * `npm run config` follow from this table: add a line here and run `npm run config:docs`.
 */
export const settings = {
  ENVIRONMENT: setting(t.choice('development', 'test', 'production'), {
    category: 'General',
    default: 'development',
    description: 'Which rules apply: production hides stacks and documentation pages and asks for explicit settings.',
  }),
  LOG_LEVEL: setting(t.choice('debug', 'info', 'warn', 'error'), {
    category: 'General',
    default: 'info',
    description: 'The least severity that is logged.',
  }),
  PORT: setting(t.integer(0, 65_535), {
    category: 'Server',
    default: '8000',
    runtimes: 'server',
    description: 'Port to listen on; 0 takes any free one.',
  }),
  HOST: setting(t.text, {
    category: 'Server',
    default: {
      text: '127.0.0.1; 0.0.0.0 in production',
      compute: (lookup) => (isProduction(lookup('ENVIRONMENT')) ? '0.0.0.0' : '127.0.0.1'),
    },
    runtimes: 'server',
    description: 'Address to listen on.',
  }),
  SHUTDOWN_GRACE_S: setting(t.integer(0, 3600), {
    category: 'Server',
    default: '20',
    runtimes: 'server',
    description: 'Seconds that requests and leased runs get to finish after SIGTERM.',
  }),
  SHUTDOWN_DELAY_S: setting(t.integer(0, 3600), {
    category: 'Server',
    default: '0',
    runtimes: 'server',
    description:
      'Seconds of SHUTDOWN_GRACE_S in which new connections are still served while /health/ready says 503, so that a load balancer can turn away first.',
  }),
  DATA_DIR: setting(t.text, {
    category: 'Database',
    default: '.data',
    runtimes: 'server',
    description: 'Folder of the embedded database, files and generated keys.',
  }),
  DATABASE_URL: optional(t.postgresUrl, {
    category: 'Database',
    secret: true,
    default: {
      text: 'computed from POSTGRES_*; without them the embedded database in DATA_DIR',
      compute: databaseUrlFromParts,
    },
    runtimes: 'server',
    example: 'postgres://automatos:password@localhost:5432/automatos',
    description:
      'PostgreSQL 15 or later. In production `sslmode=require` is added unless the host is local or the URL names an sslmode. Workers use the HYPERDRIVE binding instead.',
  }),
  POSTGRES_DB: optional(t.text, {
    category: 'Database',
    runtimes: 'server',
    description: 'Name of the database. This or POSTGRES_HOST makes DATABASE_URL from the parts.',
  }),
  POSTGRES_USER: optional(t.text, { category: 'Database', runtimes: 'server', description: 'User; default postgres.' }),
  POSTGRES_PASSWORD: optional(t.secretText, {
    category: 'Database',
    secret: true,
    runtimes: 'server',
    description: 'Password of the user.',
  }),
  POSTGRES_HOST: optional(t.text, {
    category: 'Database',
    runtimes: 'server',
    description: 'Host; default localhost.',
  }),
  POSTGRES_PORT: optional(t.integer(1, 65_535), {
    category: 'Database',
    runtimes: 'server',
    description: 'Port; default 5432.',
  }),
  REDIS_URL: optional(t.redisUrl, {
    category: 'Redis',
    secret: true,
    default: { text: 'computed from REDIS_HOST, REDIS_PORT and REDIS_PASSWORD', compute: redisUrlFromParts },
    runtimes: 'server',
    example: 'redis://:password@localhost:6379/0',
    description:
      'Redis 5 or later, where several processes share rate limits and short-lived values. Without it, and without Upstash, each process has its own.',
  }),
  REDIS_HOST: optional(t.text, {
    category: 'Redis',
    runtimes: 'server',
    description: 'Host; makes REDIS_URL from the parts.',
  }),
  REDIS_PORT: optional(t.integer(1, 65_535), {
    category: 'Redis',
    runtimes: 'server',
    description: 'Port; default 6379.',
  }),
  REDIS_PASSWORD: optional(t.secretText, {
    category: 'Redis',
    secret: true,
    runtimes: 'server',
    description: 'Password, where Redis wants one.',
  }),
  UPSTASH_REDIS_REST_URL: optional(t.webUrl, {
    category: 'Redis',
    example: 'https://name.upstash.io',
    description:
      'Redis over HTTP, where there is no REDIS_URL; together with its token. On Workers it takes the place of Durable Objects.',
  }),
  UPSTASH_REDIS_REST_TOKEN: optional(t.secretText, {
    category: 'Redis',
    secret: true,
    description: 'Token of UPSTASH_REDIS_REST_URL.',
  }),
  S3_BUCKET: optional(t.bucketName, {
    category: 'Files',
    description:
      'Keeps files in this bucket of an S3 API (AWS, R2, MinIO and others). Without it servers keep them in DATA_DIR/blobs, Workers in the FILES binding.',
  }),
  S3_ENDPOINT: optional(t.webUrl, {
    category: 'Files',
    default: {
      text: 'https://s3.S3_REGION.amazonaws.com',
      compute: (lookup) => (lookup('S3_BUCKET') ? `https://s3.${lookup('S3_REGION')}.amazonaws.com` : undefined),
    },
    example: 'https://minio.internal:9000',
    description: 'Address of the S3 API, without the bucket.',
  }),
  S3_REGION: setting(t.regionName, {
    category: 'Files',
    default: 'us-east-1',
    description: 'Region of the bucket; `auto` for Cloudflare R2.',
  }),
  S3_ACCESS_KEY_ID: optional(t.secretText, { category: 'Files', secret: true, description: 'Id of the access key.' }),
  S3_SECRET_ACCESS_KEY: optional(t.secretText, {
    category: 'Files',
    secret: true,
    description: 'The access key itself.',
  }),
  S3_PATH_STYLE: setting(t.flag, {
    category: 'Files',
    default: {
      text: 'false for amazonaws.com, else true',
      compute: (lookup) => String(!lookup('S3_ENDPOINT')?.endsWith('.amazonaws.com')),
    },
    description: 'Whether the bucket stands in the path instead of the host name.',
  }),
  FILE_MAX_BYTES: setting(t.integer(1, 104_857_600), {
    category: 'Files',
    default: '26214400',
    description: 'The largest file that can be uploaded.',
  }),
  ADMIN_API_KEY: optional(
    t.secretMatching('ak_srv_ followed by 64 hexadecimal digits', (key) => /^ak_srv_[0-9a-f]{64}$/.test(key)),
    {
      category: 'Security',
      secret: true,
      runtimes: 'server',
      description:
        'Installed as the owner key of the first workspace. Without it, the first start of an embedded database makes one and writes it to DATA_DIR/admin-api-key.',
    },
  ),
  CLERK_JWKS_URL: optional(t.webUrl, {
    category: 'Security',
    example: 'https://example.clerk.accounts.dev/.well-known/jwks.json',
    description: "Clerk's way to say AUTH_JWKS_URL and AUTH_ISSUER.",
  }),
  AUTH_JWKS_URL: optional(t.webUrl, {
    category: 'Security',
    default: { text: 'CLERK_JWKS_URL', compute: (lookup) => lookup('CLERK_JWKS_URL') },
    example: 'https://login.example.com/.well-known/jwks.json',
    description:
      'Where the identity provider publishes the keys that sign its tokens. Without it only API keys are accepted.',
  }),
  AUTH_ISSUER: optional(t.text, {
    category: 'Security',
    default: { text: 'CLERK_JWKS_URL without /.well-known/jwks.json', compute: issuerOfClerk },
    example: 'https://login.example.com/',
    description: 'The `iss` of accepted tokens, to the letter. Required with AUTH_JWKS_URL.',
  }),
  AUTH_AUDIENCE: optional(t.textList, {
    category: 'Security',
    example: 'https://api.example.com',
    description:
      'Comma-separated list, one of which the `aud` of a token must name; none checks no audience. Required with AUTH_JWKS_URL.',
  }),
  AUTH_AUTHORIZED_PARTIES: optional(t.textList, {
    category: 'Security',
    example: 'https://app.example.com',
    description:
      'Comma-separated list, one of which the `azp` of a token must be: for Clerk the origins of your front ends. Not checked without it.',
  }),
  AUTH_ISSUERS: optional(issuerList, {
    category: 'Security',
    example:
      '[{"issuer":"https://login.example.com/","jwks_url":"https://login.example.com/keys","audience":"https://api.example.com"}]',
    description:
      'Further identity providers as a JSON list, each with issuer, kind (clerk or oidc), jwks_url, audience and authorized_parties, beside the one of AUTH_JWKS_URL. Clerk needs the issuer alone; oidc also jwks_url and audience (none checks no audience).',
  }),
  AUTH_SIGN_UP: setting(t.choice('open', 'members'), {
    category: 'Security',
    default: 'open',
    description:
      'Who may sign in with a token: `open` gives everyone whom the identity provider lets in a user and a personal workspace at first contact; `members` admits users that are known already.',
  }),
  CREDENTIAL_ENCRYPTION_KEY: optional(t.keyRing, {
    category: 'Security',
    secret: true,
    example: 'k1:<output of: openssl rand -base64 32>',
    description:
      'Key ring that encrypts stored credentials. To rotate, put a new key first and keep the old ones. Without it, servers generate one into DATA_DIR/keys; Workers cannot and refuse to store credentials.',
  }),
  METRICS_TOKEN: optional(t.secretText, {
    category: 'Security',
    secret: true,
    description: 'Bearer token for /metrics, which is public without it.',
  }),
  TRUSTED_PROXIES: setting(t.addressRanges, {
    category: 'Security',
    default: 'loopback,private',
    runtimes: 'server',
    description: 'Peers whose X-Forwarded-For is believed when the client address is determined.',
  }),
  API_URL: setting(t.webUrl, {
    category: 'URLs and CORS',
    default: {
      text: 'BACKEND_URL, else http://localhost:PORT',
      compute: (lookup) => lookup('BACKEND_URL') ?? `http://localhost:${lookup('PORT')}`,
    },
    description: 'Public address of this API, as it appears in documents and links.',
  }),
  BACKEND_URL: optional(t.webUrl, { category: 'URLs and CORS', description: 'Older name of API_URL.' }),
  FRONTEND_URL: optional(t.webUrl, {
    category: 'URLs and CORS',
    default: {
      text: 'http://localhost:3000; none in production',
      compute: (lookup) => (isProduction(lookup('ENVIRONMENT')) ? undefined : 'http://localhost:3000'),
    },
    description: 'Address of the web front end.',
  }),
  CORS_ALLOW_ORIGINS: setting(t.origins, {
    category: 'URLs and CORS',
    default: {
      text: 'FRONTEND_URL; none in production',
      compute: (lookup) => {
        const frontend = lookup('FRONTEND_URL')
        if (isProduction(lookup('ENVIRONMENT')) || !frontend || !URL.canParse(frontend)) return 'none'
        return new URL(frontend).origin
      },
    },
    description: 'Origins whose pages may call the API with credentials.',
  }),
  ...rateLimitSettings,
  EGRESS_ALLOW: setting(t.egressTargets, {
    category: 'Egress',
    default: 'none',
    example: 'intranet.example.com,192.168.7.20:8080,10.1.0.0/16',
    description:
      'Private destinations that recipes and tools may reach all the same. Everything private, link-local or of a metadata service is refused otherwise.',
  }),
  CREDENTIAL_USAGE_DAYS: setting(t.integer(1, 3_650), {
    category: 'Security',
    default: '30',
    description: 'Days that the uses of credentials are kept; of each credential the latest 10,000 at most.',
  }),
  ...emailSettings,
  RECIPE_SCHEDULER_ENABLED: setting(t.flag, {
    category: 'Features',
    default: 'true',
    description: 'Whether this process fires schedules.',
  }),
  HEARTBEAT_ENABLED: setting(t.flag, {
    category: 'Features',
    default: 'true',
    description:
      'Whether this process registers itself, stores the measured state of its components, and serves /api/heartbeat.',
  }),
  ENGINE_CONCURRENCY: setting(t.integer(1, 10_000), {
    category: 'Engine',
    default: '100',
    description: 'Runs in flight in one process.',
  }),
  ...retentionSettings,
  LLM_PROVIDER: optional(t.choice('openai', 'anthropic', 'google', 'openrouter', 'openai-compatible', 'offline'), {
    category: 'Models',
    description: 'Default provider where neither step, agent nor workspace names one.',
  }),
  LLM_MODEL: optional(t.text, { category: 'Models', description: 'Default model of LLM_PROVIDER.' }),
  MODEL_TIMEOUT_S: setting(t.integer(1, 3600), {
    category: 'Models',
    default: '120',
    description: 'Seconds that one model call may take.',
  }),
  ALLOW_OFFLINE_MODEL: setting(t.flag, {
    category: 'Models',
    default: 'false',
    description: 'Whether the built-in simulated model may answer in production.',
  }),
  OPENAI_API_KEY: providerKey('OpenAI'),
  OPENAI_BASE_URL: providerUrl('OpenAI'),
  ANTHROPIC_API_KEY: providerKey('Anthropic'),
  ANTHROPIC_BASE_URL: providerUrl('Anthropic'),
  GOOGLE_API_KEY: providerKey('Google Gemini'),
  GOOGLE_BASE_URL: providerUrl('Google Gemini'),
  OPENROUTER_API_KEY: providerKey('OpenRouter'),
  OPENROUTER_BASE_URL: providerUrl('OpenRouter'),
  OPENAI_COMPATIBLE_BASE_URL: optional(t.webUrl, {
    category: 'Models',
    example: 'http://localhost:11434/v1',
    description: 'Any server that speaks the OpenAI API: Ollama, vLLM, LM Studio.',
  }),
  OPENAI_COMPATIBLE_API_KEY: optional(t.secretText, {
    category: 'Models',
    secret: true,
    description: 'Key for OPENAI_COMPATIBLE_BASE_URL, where it wants one.',
  }),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional(t.webUrl, {
    category: 'Observability',
    example: 'http://localhost:4318',
    description:
      'Base address of an OpenTelemetry receiver (OTLP over HTTP, JSON). Traces go to its /v1/traces. Tracing is off without an address.',
  }),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: optional(t.webUrl, {
    category: 'Observability',
    description: 'Address for traces alone, used as it is. Wins over OTEL_EXPORTER_OTLP_ENDPOINT.',
  }),
  OTEL_EXPORTER_OTLP_HEADERS: optional(t.secretPairs, {
    category: 'Observability',
    secret: true,
    example: 'authorization=Bearer%20token',
    description: 'Headers for the receiver, values percent-encoded.',
  }),
  OTEL_SERVICE_NAME: setting(t.text, {
    category: 'Observability',
    default: 'automatos-orchestrator',
    description: 'Name of this service in traces.',
  }),
  OTEL_RESOURCE_ATTRIBUTES: optional(t.pairs, {
    category: 'Observability',
    example: 'service.namespace=agents,k8s.pod.name=orchestrator-0',
    description: 'Further attributes of this process in traces.',
  }),
  OTEL_TRACES_SAMPLER: setting(
    t.choice(
      'always_on',
      'always_off',
      'traceidratio',
      'parentbased_always_on',
      'parentbased_always_off',
      'parentbased_traceidratio',
    ),
    {
      category: 'Observability',
      default: 'parentbased_always_on',
      description: 'Which traces are kept; parent-based ones follow the decision of whoever began the trace.',
    },
  ),
  OTEL_TRACES_SAMPLER_ARG: setting(t.fraction, {
    category: 'Observability',
    default: '1',
    description: 'Share of traces that a ratio sampler keeps.',
  }),
}

export type Settings = typeof settings
