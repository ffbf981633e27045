import type { Assets } from '../../context.ts'
import type { RouteGroup } from '../operation.ts'
import { createDocument, type OpenApiDocument } from './document.ts'

/**
 * The document that a server shows, made from its own declarations. Builds leave those out and put
 * `src/runtime/shipped-document.ts` in the place of this module.
 */
export async function servedDocument(
  groups: readonly RouteGroup[],
  apiUrl: string,
  _assets: Assets | undefined,
): Promise<OpenApiDocument> {
  return createDocument(groups, apiUrl)
}
