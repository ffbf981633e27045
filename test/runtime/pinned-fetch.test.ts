import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'

const run = promisify(execFile)
const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url))

test.each([
  ['Node', process.execPath],
  ['Bun', path('../../node_modules/.bin/bun')],
])(
  '%s connects to the given address alone, and keeps the name for Host, TLS and certificate',
  async (_, runtime) => {
    const { stdout } = await run(runtime, [path('pinned-fetch.program.ts')], {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: path('../fixtures/tls/test-only.cert.pem') },
    })
    expect(JSON.parse(stdout)).toEqual({
      get: [200, 'GET /echo/x?y=%20z name.example:PORT ', ['a=1', 'b=2']],
      post: 'POST /echo name.example:PORT data',
      redirect: 302,
      empty: null,
      gzip: ['packed', null],
      deflate: ['packed', null],
      br: ['packed', null],
      zstd: ['packed', null],
      cut: 'failed',
      aborted: 'failed',
      secondAddress: 200,
      nothingListens: 'failed',
      streamed: 'first',
      https: 'secure api.pinned.example:PORT api.pinned.example',
      httpsOtherName: 'failed',
      httpsLiteral: true,
      httpsOtherLiteral: 'failed',
    })
  },
  60_000,
)
