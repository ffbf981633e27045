import { ApiError, UnreachableError } from './errors.ts'
import { createClient, type Client } from './generated/client/index.ts'
import { AutomatosApi } from './generated/sdk.gen.ts'

export interface AutomatosOptions {
  /** Where the server is: `http://127.0.0.1:8000`. */
  baseUrl: string
  /** An API key, or a function that gives the credential of the moment (a token that expires). Sent as Bearer token. */
  apiKey?: string | (() => string | Promise<string>)
  /** Default: the platform's. */
  fetch?: typeof fetch
  /** Sent with every request, `x-workspace-id` for instance. */
  headers?: Record<string, string>
}

/**
 * One method an operation of the API, named by its operationId. A call gives `{ data, response }`; it throws `ApiError`
 * for any answer outside 2xx and `UnreachableError` where none came.
 */
export class Automatos extends AutomatosApi {
  /** The client beneath, for what the operations do not cover: interceptors, raw requests. */
  declare readonly client: Client
}

export function createAutomatos({ baseUrl, apiKey, fetch, headers }: AutomatosOptions): Automatos {
  const client = createClient({
    baseUrl,
    throwOnError: true,
    ...(headers && { headers }),
    ...(fetch && { fetch }),
  })
  if (apiKey !== undefined) {
    // Not the generated `auth`: operations name several schemes, and one credential is asked for and sent once.
    client.interceptors.request.use(async (request) => {
      const credential = typeof apiKey === 'function' ? await apiKey() : apiKey
      if (!request.headers.has('authorization')) request.headers.set('authorization', `Bearer ${credential}`)
      return request
    })
  }
  client.interceptors.error.use((error, response, request) => {
    if (response && !response.ok) return new ApiError(response, error)
    if (!request || request.signal.aborted || response) return error
    return new UnreachableError(request.url, error)
  })
  return new Automatos({ client })
}
