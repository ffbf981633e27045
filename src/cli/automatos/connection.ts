import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import type { Automatos } from '../../../clients/typescript/src/index.ts'
import { CliError } from './cli-error.ts'

export interface ConnectionOptions {
  url?: string
  key?: string
}
export interface Connection {
  url: string
  key: string | undefined
  /** Where the key came from, for people. */
  keySource: string | null
}

/** Where the server is and what opens it: options, then environment, then a server that runs in this folder. */
export function findConnection(options: ConnectionOptions): Connection {
  const { env } = process
  const local = localSettings()
  const url = (options.url ?? env['AUTOMATOS_URL'] ?? `http://127.0.0.1:${local.port}`).replace(/\/+$/, '')
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new CliError(`${url} is no address of a server. It looks like http://127.0.0.1:8000.`)
  }
  if (options.key) return { url, key: options.key, keySource: '--key' }
  if (env['AUTOMATOS_API_KEY']) return { url, key: env['AUTOMATOS_API_KEY'], keySource: 'AUTOMATOS_API_KEY' }
  // The key of a server on this machine is shown to no other.
  const key = isLoopback(url) ? textOf(local.keyFile) : undefined
  return { url, key, keySource: key === undefined ? null : local.keyFile }
}

export async function connect({ url, key }: Connection, version: string): Promise<Automatos> {
  const { createAutomatos } = await import('../../../clients/typescript/src/index.ts')
  return createAutomatos({
    baseUrl: url,
    ...(key !== undefined && { apiKey: key }),
    headers: { 'user-agent': `automatos-cli/${version}` },
  })
}

/**
 * What a server started here would use. A folder's `.env` says where that one is; it does not get to say which server
 * the user's key goes to.
 */
function localSettings(): { port: string; keyFile: string } {
  const fromFile = parseEnv(textOf('.env') ?? '')
  const setting = (name: string) => process.env[name] ?? fromFile[name]
  // Anything but digits would make another address of the URL that the port is put into.
  const port = setting('PORT') ?? ''
  return {
    port: /^\d{1,5}$/.test(port) ? port : '8000',
    keyFile: join(setting('DATA_DIR') ?? '.data', 'admin-api-key'),
  }
}

function textOf(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch {
    return undefined
  }
}

function isLoopback(url: string): boolean {
  const { hostname } = new URL(url)
  return hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname)
}
