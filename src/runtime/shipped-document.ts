import type { Assets } from '../context.ts'
import { AppError } from '../lib/errors.ts'
import type { OpenApiDocument } from '../lib/openapi/document.ts'

/** In place of `src/lib/openapi/served-document.ts` in what is built: the committed document, with this server's address. */
export async function servedDocument(
  _groups: unknown,
  apiUrl: string,
  assets: Assets | undefined,
): Promise<OpenApiDocument> {
  const file = await assets?.('openapi.json')
  if (!file) throw new AppError('not-found', 'This installation ships no files for the documentation page.')
  const document = JSON.parse(new TextDecoder().decode(file.bytes)) as OpenApiDocument
  return { ...document, servers: [{ ...document.servers?.[0], url: apiUrl }] }
}
