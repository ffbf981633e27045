import type { Json, JsonObject } from '../../lib/json.ts'

/** What a type of credential holds, how it is sent, and how it is tested: data, which `GET /api/credentials/types` shows. */
export interface CredentialType {
  id: string
  name: string
  description: string
  /** JSON Schema of the fields; `secret: true` marks what is sealed and never returned. Of `custom` the credential has its own. */
  schema: JsonObject
  /** Where it may go unless hosts are given: fixed hosts, or fields that name one. */
  hosts?: { fixed?: readonly string[]; fields?: readonly string[] }
  /** `request`: the address in the credential's `test_url`, or the service's own. `sign-in`: a connection that is no HTTP. */
  test: 'request' | 'sign-in'
}

const text = (description: string, more: JsonObject = {}): JsonObject => ({
  type: 'string',
  minLength: 1,
  maxLength: 8192,
  description,
  ...more,
})
const secret = (description: string, more: JsonObject = {}) => text(description, { secret: true, ...more })
const visible = { pattern: '^[!-~]+$' }
const token = (description: string) => secret(description, visible)
/** What a header value may be, so that it cannot end its line: visible ASCII and inner blanks. */
const headerValue = { pattern: '^[!-~]([ -~]*[!-~])?$' }
const plain = { pattern: '^[^\\u0000-\\u001f\\u007f]*$' }
const headerName = text('Name of the header.', { maxLength: 100, pattern: "^[!#$%&'*+.^_`|~0-9A-Za-z-]+$" })
const webUrl = (description: string, more: JsonObject = {}) =>
  text(description, { format: 'uri', pattern: '^https?://', maxLength: 2000, ...more })
const hostName = text('Host of the server.', { maxLength: 300, pattern: '^[^\\s/@:]+$' })
const port = (standard: number): JsonObject => ({ type: 'integer', minimum: 1, maximum: 65535, default: standard })

const fields = (properties: { [name: string]: Json }, required: string[], more: JsonObject = {}): JsonObject => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
  ...more,
})
const client = {
  token_url: webUrl('Where tokens are asked for.'),
  client_id: text('Id of the client.', { maxLength: 1000 }),
  client_secret: secret('Secret of the client.', plain),
  client_auth: {
    enum: ['basic', 'body'],
    default: 'basic',
    description: 'Whether the client proves itself in the Authorization header or in the body.',
  },
  scope: text('Scopes, with blanks between them.', { maxLength: 2000, ...plain }),
  audience: text('Audience, where the server wants one.', { maxLength: 1000, ...plain }),
}

export const credentialTypes: readonly CredentialType[] = [
  {
    id: 'api_key',
    name: 'API key',
    description: 'A key in a header or in the query.',
    schema: fields(
      {
        in: { enum: ['header', 'query'], default: 'header', description: 'Where it is sent.' },
        name: headerName,
        prefix: text('Stands before the value in a header, such as `Token `.', { maxLength: 100, pattern: '^[ -~]*$' }),
        value: secret('The key.', headerValue),
      },
      ['name', 'value'],
    ),
    test: 'request',
  },
  {
    id: 'bearer',
    name: 'Bearer token',
    description: 'Sent as `Authorization: Bearer`.',
    schema: fields({ token: token('The token.') }, ['token']),
    test: 'request',
  },
  {
    id: 'basic',
    name: 'User name and password',
    description: 'Sent as `Authorization: Basic`.',
    schema: fields(
      {
        username: { type: 'string', maxLength: 300, pattern: '^[^:\\u0000-\\u001f\\u007f]*$' },
        password: { type: 'string', maxLength: 8192, secret: true, ...plain },
      },
      ['username', 'password'],
    ),
    test: 'request',
  },
  {
    id: 'header',
    name: 'Header',
    description: 'A secret in a header; `api_key` does the same and more.',
    schema: fields({ name: headerName, value: secret('The value.', headerValue) }, ['name', 'value']),
    test: 'request',
  },
  {
    id: 'query',
    name: 'Query parameter',
    description: 'A secret in the query; `api_key` does the same and more.',
    schema: fields({ name: text('Name of the parameter.', { maxLength: 100 }), value: secret('The value.', plain) }, [
      'name',
      'value',
    ]),
    test: 'request',
  },
  {
    id: 'oauth2_client_credentials',
    name: 'OAuth 2.0, client credentials',
    description: 'An access token is asked for when it is needed and sent as `Authorization: Bearer`.',
    schema: fields(client, ['token_url', 'client_id', 'client_secret']),
    test: 'request',
  },
  {
    id: 'oauth2_authorization_code',
    name: 'OAuth 2.0, authorization code',
    description:
      'A person consents at the address that `POST /api/credentials/{credential}/authorize` gives (PKCE); the token is refreshed by itself.',
    schema: fields({ authorization_url: webUrl('Where the person consents.'), ...client }, [
      'authorization_url',
      'token_url',
      'client_id',
    ]),
    test: 'request',
  },
  {
    id: 'smtp',
    name: 'SMTP server',
    description: 'A mail server and who may send by it.',
    schema: fields(
      {
        host: hostName,
        port: port(587),
        tls: { enum: ['starttls', 'implicit'], default: 'starttls' },
        username: text('User name.', { maxLength: 300, ...plain }),
        password: secret('Password.', plain),
      },
      ['host', 'username', 'password'],
    ),
    hosts: { fields: ['host'] },
    test: 'sign-in',
  },
  {
    id: 's3',
    name: 'S3 bucket',
    description: 'Requests are signed (AWS signature, version 4).',
    schema: fields(
      {
        endpoint: webUrl('Address of the S3 API, without the bucket.'),
        region: text('Region; `auto` for Cloudflare R2.', { maxLength: 100, pattern: '^[a-z0-9-]+$' }),
        bucket: text('Name of the bucket.', { maxLength: 63, pattern: '^[a-z0-9][a-z0-9.-]+$' }),
        path_style: { type: 'boolean', default: true, description: 'Whether the bucket stands in the path.' },
        access_key_id: text('Id of the access key.', { maxLength: 300, ...visible }),
        secret_access_key: secret('The access key.', visible),
        session_token: token('Of temporary access keys.'),
      },
      ['endpoint', 'region', 'bucket', 'access_key_id', 'secret_access_key'],
    ),
    hosts: { fields: ['endpoint'] },
    test: 'request',
  },
  {
    id: 'postgres',
    name: 'PostgreSQL database',
    description: 'A database and who may use it.',
    schema: fields(
      {
        host: hostName,
        port: port(5432),
        database: text('Name of the database.', { maxLength: 63, ...plain }),
        username: text('User name.', { maxLength: 63, ...plain }),
        password: secret('Password.', plain),
        tls: { enum: ['verify-full', 'require', 'disable'], default: 'require' },
      },
      ['host', 'database', 'username', 'password'],
    ),
    hosts: { fields: ['host'] },
    test: 'sign-in',
  },
  {
    id: 'slack',
    name: 'Slack',
    description: 'A bot or user token, sent as `Authorization: Bearer`.',
    schema: fields({ token: token('`xoxb-…` or `xoxp-…`.'), api_url: webUrl('Default: https://slack.com/api.') }, [
      'token',
    ]),
    hosts: { fixed: ['slack.com'], fields: ['api_url'] },
    test: 'request',
  },
  {
    id: 'discord',
    name: 'Discord',
    description: 'A bot token, sent as `Authorization: Bot`.',
    schema: fields({ token: token('Token of the bot.'), api_url: webUrl('Default: https://discord.com/api/v10.') }, [
      'token',
    ]),
    hosts: { fixed: ['discord.com'], fields: ['api_url'] },
    test: 'request',
  },
  {
    id: 'telegram',
    name: 'Telegram',
    description: 'A bot token; the guard puts `/bot<token>` in front of the path, so a request names the method alone.',
    schema: fields(
      {
        token: secret('Token of the bot.', { pattern: '^[0-9]+:[A-Za-z0-9_-]+$' }),
        api_url: webUrl('Default: https://api.telegram.org; another one for a Bot API server of your own.', {
          pattern: '^https?://[^/]+/?$',
        }),
      },
      ['token'],
    ),
    hosts: { fixed: ['api.telegram.org'], fields: ['api_url'] },
    test: 'request',
  },
  {
    id: 'custom',
    name: 'Custom',
    description:
      "Fields by a JSON Schema of your own (`field_schema`), for `{{ secret('slug.field') }}`. Texts, numbers and flags; `secret: true` marks what is sealed.",
    schema: { type: 'object' },
    test: 'request',
  },
]

const byId = new Map(credentialTypes.map((type) => [type.id, type]))
export const findType = (id: string): CredentialType | undefined => byId.get(id)
export const credentialTypeIds = credentialTypes.map(({ id }) => id) as [string, ...string[]]
