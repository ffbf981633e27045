import type { LanguageModelV4FilePart, LanguageModelV4TextPart } from '@ai-sdk/provider'
import { canonicalJson } from '../../lib/canonical.ts'
import { ModelError } from './errors.ts'
import { findProvider, offlineProvider } from './providers.ts'
import type { Attachment, ModelChoice } from './types.ts'

const textType = /^text\/|^application\/(json|xml|yaml|x-yaml|x-ndjson|javascript)$|\+(json|xml|yaml)$/

/**
 * Files as a model of this provider takes them: text as text, set apart from the question as a context is, anything else as
 * bytes under its type. Throws where the provider takes none of the type: another of the chain may.
 */
export function toParts(
  files: readonly Attachment[],
  { provider, model }: ModelChoice,
): (LanguageModelV4TextPart | LanguageModelV4FilePart)[] {
  return files.map(({ name, mediaType: declared, bytes }) => {
    const mediaType = declared.split(';')[0]!.trim().toLowerCase()
    const isText = textType.test(mediaType)
    if (isText && provider !== offlineProvider) return { type: 'text', text: asText(name, bytes) }
    if (!isText && provider !== offlineProvider && !findProvider(provider)?.takes.test(mediaType))
      throw new ModelError(
        'attachment-unsupported',
        `${provider}/${model} takes no files of type ${mediaType}: ${name}.`,
        { fallback: true },
      )
    return { type: 'file', filename: name, mediaType, data: { type: 'data', data: bytes } }
  })
}

/** In JSON `</` may be written `<\/`: nothing in a file can close the tag. */
const asText = (name: string, bytes: Uint8Array): string =>
  `<file>\n${canonicalJson({ name, text: new TextDecoder().decode(bytes) }).replaceAll('</', '<\\/')}\n</file>`
