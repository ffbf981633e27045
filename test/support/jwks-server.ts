import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK, type JWTPayload } from 'jose'
import { keyHost, type Fault } from './key-host.ts'

export interface TestKey {
  kid: string
  alg: string
  privateKey: CryptoKey
  jwk: JWK
}
export interface TokenOptions {
  key?: TestKey
  /** Replaces claims; undefined leaves one out. */
  claims?: JWTPayload
  /** Replaces fields of the header. */
  header?: Record<string, unknown>
}
/** An identity provider that publishes its keys over HTTP and signs whatever a test wants. */
export interface IdentityProvider {
  url: string
  issuer: string
  audience: string
  key: TestKey
  /** How often the keys were asked for. */
  reads(): Promise<number>
  /** What is published from now on. */
  publish(...keys: TestKey[]): Promise<void>
  /** What comes instead from now on; null = the keys again. */
  fail(fault: Fault | null): Promise<void>
  token(options?: TokenOptions): Promise<string>
  /** The settings that trust this provider. */
  config: { authJwksUrl: string; authIssuer: string; authAudience: string[] }
}

export async function createKey(alg = 'ES256', kid: string = crypto.randomUUID()): Promise<TestKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

export async function createIdentityProvider(nowMs: () => number = Date.now): Promise<IdentityProvider> {
  const url = `${await keyHost()}/${crypto.randomUUID()}`
  const key = await createKey()
  let keys = [key]
  let fault: Fault | null = null
  const put = async () => {
    const body = JSON.stringify({ keys: keys.map(({ jwk }) => jwk), fault })
    await (await fetch(url, { method: 'PUT', body })).text()
  }
  await put()
  const issuer = 'https://id.example'
  const audience = 'https://api.example'
  return {
    url,
    issuer,
    audience,
    key,
    reads: async () => Number(await (await fetch(`${url}?reads`)).text()),
    publish: (...published) => ((keys = published), put()),
    fail: (next) => ((fault = next), put()),
    token({ key: signer = key, claims = {}, header = {} } = {}) {
      const nowS = Math.floor(nowMs() / 1000)
      const payload = { iss: issuer, aud: audience, sub: 'user-1', iat: nowS, exp: nowS + 60, ...claims }
      // Undefined values fall away here, as they do in JSON.
      return new SignJWT(JSON.parse(JSON.stringify(payload)))
        .setProtectedHeader({ alg: signer.alg, kid: signer.kid, ...header })
        .sign(signer.privateKey)
    },
    config: { authJwksUrl: url, authIssuer: issuer, authAudience: [audience] },
  }
}
